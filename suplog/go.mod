module sup/suplog

go 1.26.0

require sup/lib v0.0.0

require golang.org/x/sys v0.49.0

require github.com/rogpeppe/go-internal v1.16.0 // indirect

require (
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	github.com/kolo/xmlrpc v0.0.0-20220921171641-a4b6fa1dd06b // indirect
	golang.org/x/term v0.47.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	gopkg.in/natefinch/lumberjack.v2 v2.2.1 // indirect
)

replace sup/lib => ../lib
