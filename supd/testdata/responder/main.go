// Responder is a FastCGI program that tells who answers. Its standard input is
// the listening socket.
package main

import (
	"fmt"
	"net/http"
	"net/http/fcgi"
	"os"
)

func main() {
	answer := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %d %s\n", os.Getenv("SUPERVISOR_PROCESS_NAME"), os.Getpid(), r.URL.Path)
	}
	if err := fcgi.Serve(nil, http.HandlerFunc(answer)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
