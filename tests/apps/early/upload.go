// upload ADDRESS URL FILE TIMES FRAMING - uploads the file so many times and prints what was answered, a line each.
// ADDRESS is host:port or the path of a UNIX socket; FRAMING is length or chunked.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func upload(client *http.Client, url, path, framing string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	// Without its other methods the file is content of unknown length, which goes out in chunks.
	request, err := http.NewRequest("POST", url, struct{ io.Reader }{file})
	if err != nil {
		return "", err
	}
	if framing == "length" {
		about, err := file.Stat()
		if err != nil {
			return "", err
		}
		request.ContentLength = about.Size()
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return fmt.Sprintf("%d %s", answer.StatusCode, strings.TrimSpace(string(content))), err
}

func main() {
	address, url, path, framing := os.Args[1], os.Args[2], os.Args[3], os.Args[5]
	times, err := strconv.Atoi(os.Args[4])
	if err != nil {
		panic(err)
	}
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	for ; times > 0; times-- {
		if said, err := upload(client, url, path, framing); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println(said)
		}
	}
}
