// get URL CAFILE NAME TIMES [CERTFILE KEYFILE] - asks so many times, each on a connection of its own, and prints a line for
// each: version of TLS, whether it was resumed, protocol, status, length of the content. NAME is what the certificate is for.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

func main() {
	url, name := os.Args[1], os.Args[3]
	authorities, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	times, err := strconv.Atoi(os.Args[4])
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorities)
	config := &tls.Config{RootCAs: roots, ServerName: name, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	if len(os.Args) > 5 {
		pair, err := tls.LoadX509KeyPair(os.Args[5], os.Args[6])
		if err != nil {
			panic(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport}
	for ; times > 0; times-- {
		answer, err := client.Get(url)
		if err != nil {
			fmt.Println(err)
			continue
		}
		content, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			fmt.Println(err)
			continue
		}
		state := answer.TLS
		fmt.Printf("%x %t %s %d %d\n", state.Version, state.DidResume, answer.Proto, answer.StatusCode, len(content))
		transport.CloseIdleConnections()
	}
}
