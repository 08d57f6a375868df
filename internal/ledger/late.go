package ledger

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// lateListeners are ports that refuse connections, and that nobody else can take, until they listen: a
// socket that is bound and does not listen.
type lateListeners struct {
	mu  sync.Mutex
	fds map[string]int
}

// reserve writes the address of a new port.
func (l *lateListeners) reserve(w io.Writer) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		panic(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		panic(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		panic(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fds == nil {
		l.fds = make(map[string]int)
	}
	l.fds[address] = fd
	io.WriteString(w, address)
}

func (l *lateListeners) listen(address string) (net.Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fd, ok := l.fds[address]
	if !ok {
		return nil, fmt.Errorf("%s was not reserved", address)
	}
	delete(l.fds, address)
	if err := syscall.Listen(fd, 128); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), address)
	defer f.Close() // FileListener has its own descriptor
	return net.FileListener(f)
}
