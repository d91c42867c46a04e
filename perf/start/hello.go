// The routes of perf/tools/apps.py in Go's net/http: goroutines are what green threads are usually compared with.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

var (
	hello    = []byte("hello, world\n")
	piece    = make([]byte, 65536)
	mebibyte = make([]byte, 1048576)
	counter  int64
)

func answer(w http.ResponseWriter, kind string, body []byte) {
	w.Header()["Content-Type"] = []string{kind}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.Write(body)
}

const plain = "text/plain; charset=utf-8"

func route(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		answer(w, plain, hello)
	case "/echo":
		body, _ := io.ReadAll(r.Body)
		answer(w, "application/octet-stream", body)
	case "/1m":
		answer(w, plain, mebibyte)
	case "/wait":
		time.Sleep(50 * time.Millisecond)
		answer(w, plain, hello)
	case "/stream1g":
		left, err := strconv.Atoi(r.URL.Query().Get("bytes"))
		if err != nil {
			left = 1 << 30
		}
		for ; left >= len(piece); left -= len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	case "/upload":
		size, buffer := 0, make([]byte, 65536)
		for {
			n, err := r.Body.Read(buffer)
			size += n
			if err != nil {
				break
			}
		}
		answer(w, plain, []byte(strconv.Itoa(size)))
	case "/count":
		answer(w, plain, []byte(fmt.Sprintf("%012d\n", atomic.AddInt64(&counter, 1))))
	default:
		http.NotFound(w, r)
	}
}

func main() {
	for i := range mebibyte {
		mebibyte[i] = 'x'
	}
	address, handler := "127.0.0.1:"+os.Args[1], http.HandlerFunc(route)
	if len(os.Args) > 3 { // a certificate and its key
		log.Fatal(http.ListenAndServeTLS(address, os.Args[2], os.Args[3], handler))
	}
	log.Fatal(http.ListenAndServe(address, handler))
}
