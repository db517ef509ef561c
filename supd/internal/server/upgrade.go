package server

// supMethods are the methods that Supervisor does not have. They are not
// listed, so that what is listed is what clients of Supervisor expect.
var supMethods = []method{
	{
		name: "upgrade", needs: adminOnly,
		help:    "Replace the daemon, in place, by the program that now lies at its path. Programs run on.",
		returns: "boolean", result: "True when the new image is about to take over.",
		run: func(c *call) error {
			if err := c.srv.backend.Upgrade(c.ctx); err != nil {
				return err
			}
			c.out.enc.Bool(true)
			return nil
		},
	}, {
		name: "getGeneration", needs: reading,
		help:    "Tell how often the daemon has been taken over from one before.",
		returns: "struct", result: "generation, pid, and kept: how many programs were taken over.",
		run: func(c *call) error {
			g, err := c.srv.backend.Generation(c.ctx)
			if err != nil {
				return err
			}
			c.out.enc.Generation(&g)
			return nil
		},
	}, {
		name: "compareGroups", needs: reading, params: []parameter{{name: "groups", kind: textParam, help: "The groups of a configuration, as JSON of this version of the daemon."}},
		help:    "Tell how groups differ from the active ones. Nothing changes.",
		returns: "array", result: "[added, changed, removed]: three arrays with names of groups.",
		run: func(c *call) error {
			added, changed, removed, err := c.srv.backend.CompareGroups(c.ctx, c.args[0].text)
			if err != nil {
				return err
			}
			c.out.enc.BeginArray()
			c.strings(added)
			c.strings(changed)
			c.strings(removed)
			c.out.enc.EndArray()
			return nil
		},
	},
}
