package daemon

import (
	"sup/supd/internal/activity"
	"sup/supd/internal/fcgi"
)

// stdinFor tells where the standard input of a process comes from, if not
// from a pipe: the processes of an [fcgi-program:x] share a socket, which the
// spawner opens. What it lends is given back with stdinDone.
func (g *group) stdinFor(p *proc) func() (int, error) {
	if g.socket == nil {
		return nil
	}
	g.socket.Use()
	p.usesSocket = true
	log := p.d.log
	return func() (int, error) {
		fd, line, err := g.socket.Open()
		if line != "" {
			log.Print(activity.Info, line)
		}
		return fd, err
	}
}

// stdinDone gives back what stdinFor lent, once what has become of the process
// has been told of, and before it is started again. The last process to do so
// closes the socket.
func (p *proc) stdinDone() {
	if !p.returnsSocket {
		return
	}
	p.returnsSocket, p.usesSocket = false, false
	if line := p.group.socket.Done(); line != "" {
		p.d.log.Print(activity.Info, line)
	}
}

// ProbeSocket makes the socket of an [fcgi-program:x] and closes it again, to
// find out early whether that can be done. The lines are for the activity log.
func ProbeSocket(s *fcgi.Socket) (lines []string, err error) {
	s.Use()
	fd, line, err := s.Open()
	lines = append(lines, line)
	if err == nil {
		closeAll([]int{fd})
	}
	return append(lines, s.Done()), err
}
