// Package freeport finds ports for servers that are started again on the same one. A test takes it from here, so that
// no other test, of whatever process, is given the same port while nobody listens on it.
package freeport

import (
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from which one is drawn: none that the kernel gives to whoever connects somewhere, from 32768 on, for a server
// that is to come, or to come back, would find it taken.
const first, last = 15000, 32767

// Take returns a port of 127.0.0.1 on which nobody listens, and which nobody else is given until it is released or this
// process ends.
func Take() (port int, release func(), err error) {
	for range 100 {
		port = first + rand.IntN(last-first+1)
		if release, err = take(port); err == nil {
			return port, release, nil
		}
	}
	return 0, nil, err
}

// take keeps a port by the UDP socket of its number, of which the servers make no use.
func take(port int) (release func(), err error) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	mark, err := net.ListenPacket("udp4", address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", address)
	if err != nil {
		mark.Close()
		return nil, err
	}
	l.Close()
	return func() { mark.Close() }, nil
}
