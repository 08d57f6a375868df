package main

import (
	"context"
	"io"
	"net"
	"testing"
)

// Whoever takes a port between the look for a free one and the start of the gateway ends no demo.
func TestADemoWhosePortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := demoConfig(t.TempDir(), "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	c.Listen, c.Admin.Listen = l.Addr().String(), "127.0.0.1:0"
	s, err := startDemoGateway(t.Context(), c, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if at := s.publicListener.Addr().String(); at == l.Addr().String() {
		t.Errorf("it listens on %s, as somebody else does", at)
	}
	s.drain(context.Background())
}
