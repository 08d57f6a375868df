package upstream

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// interim tells the client of a backend's 1xx answers. net/http does that where it reads the connection, which over
// HTTP/2 carries the answers of others, too: one client that takes nothing would hold them all, until the connection
// seems dead. So they are told from a goroutine of their own, and the answer waits for it.
type interim struct {
	trace httptrace.ClientTrace
	tell  func(status int, header textproto.MIMEHeader) error

	mu      sync.Mutex
	waiting []hint
	telling chan struct{} // closed when all are told; nil while there is none
	over    bool          // there is an answer, or none will come
}

type hint struct {
	status int
	header textproto.MIMEHeader
}

// mostHints is how many may wait for a client. Nobody needs those that come beyond.
const mostHints = 16

// newInterim returns nil, and ctx, if nobody wants to be told.
func newInterim(ctx context.Context) (*interim, context.Context) {
	wanted := httptrace.ContextClientTrace(ctx)
	if wanted == nil || wanted.Got1xxResponse == nil {
		return nil, ctx
	}
	i := &interim{trace: *wanted, tell: wanted.Got1xxResponse}
	i.trace.Got1xxResponse = i.add
	return i, httptrace.WithClientTrace(untraced{ctx}, &i.trace)
}

func (i *interim) add(status int, header textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over || len(i.waiting) == mostHints {
		return nil
	}
	i.waiting = append(i.waiting, hint{status, header})
	if i.telling == nil {
		i.telling = make(chan struct{})
		go i.run()
	}
	return nil
}

func (i *interim) run() {
	for {
		i.mu.Lock()
		if len(i.waiting) == 0 {
			close(i.telling)
			i.telling = nil
			i.mu.Unlock()
			return
		}
		next := i.waiting[0]
		i.waiting = i.waiting[1:]
		i.mu.Unlock()
		_ = i.tell(next.status, next.header)
	}
}

// finish waits until all are told. Nothing is told after it.
func (i *interim) finish() {
	if i == nil {
		return
	}
	i.mu.Lock()
	i.over = true
	told := i.telling
	i.mu.Unlock()
	if told != nil {
		<-told
	}
}

// untraced is a context without its trace, whose hooks would be called beside those of a new one.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	value := c.Context.Value(key)
	if _, ok := value.(*httptrace.ClientTrace); ok {
		return nil
	}
	return value
}
