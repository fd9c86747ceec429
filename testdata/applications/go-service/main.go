package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
)

func main() {
	http.HandleFunc("/whoami", func(answer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(answer, "uid %d on %s\n", os.Getuid(), runtime.GOOS)
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
