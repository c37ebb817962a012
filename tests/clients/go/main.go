// Sends numbered records with Go's fluent-logger: main PORT COUNT [ack]
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/fluent/fluent-logger-golang/fluent"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	port, err := strconv.Atoi(os.Args[1])
	fail(err)
	count, err := strconv.Atoi(os.Args[2])
	fail(err)
	logger, err := fluent.New(fluent.Config{
		FluentHost:         "127.0.0.1",
		FluentPort:         port,
		SubSecondPrecision: true,
		RequestAck:         len(os.Args) > 3,
	})
	fail(err)
	for number := 1; number <= count; number++ {
		fail(logger.Post("go.app", map[string]interface{}{"seq": number, "log": "a line of a Go program, ä"}))
	}
	fail(logger.Close())
}
