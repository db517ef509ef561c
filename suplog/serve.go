package main

func serve(fd int) error { return nil }
