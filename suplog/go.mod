module sup/suplog

go 1.26.0

require sup/lib v0.0.0

require golang.org/x/sys v0.49.0

require github.com/rogpeppe/go-internal v1.16.0

replace sup/lib => ../lib
