package freeport

import (
	"net"
	"strconv"
	"testing"
)

// A port is somebody's also while he does not listen, as between two starts of his server.
func TestNobodyElseIsGivenAPort(t *testing.T) {
	port, release, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(port); err == nil {
		t.Error("it was given to two")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := take(port); err == nil {
		t.Error("it was given although somebody listens")
	}
	l.Close()
	release, err = take(port)
	if err != nil {
		t.Fatal(err)
	}
	release()
}
