// With a file of assembly, functions may be declared without a body.
