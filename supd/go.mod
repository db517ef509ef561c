module sup/supd

go 1.26.0

require sup/lib v0.0.0

replace sup/lib => ../lib
