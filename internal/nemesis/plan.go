package nemesis

// Plan is what happens to one connection. The zero value relays both directions faithfully.
type Plan struct {
	Refuse bool // reset at once after accepting; the backend sees nothing
	Ignore bool // accept and never read; the backend sees nothing
	Up     Flow // client to backend
	Down   Flow // backend to client
	// Segment splits what passes into writes of at most so many bytes, which TCP sends one by one. 0 = as it comes.
	Segment int
}

// Flow is what happens to one direction: After bytes pass untouched, and then Fault strikes at once.
// With After 0 it strikes when the first byte wants to pass. The zero value passes everything.
type Flow struct {
	After int64
	Fault Fault
	// Release ends Hold when it is closed or receives; what was held is then delivered, and all that
	// follows passes.
	Release <-chan struct{}
}

// Fault is a closed set.
type Fault uint8

const (
	Pass    Fault = iota // no fault: After is ignored
	CutFIN               // end the connection to both sides in good order, whatever they still send
	CutRST               // reset the connection to both sides
	Freeze               // stop reading; both sockets stay open
	Swallow              // go on reading and deliver nothing
	Hold                 // as Freeze, until released
)

func (f Fault) String() string {
	switch f {
	case Pass:
		return "pass"
	case CutFIN:
		return "cut-fin"
	case CutRST:
		return "cut-rst"
	case Freeze:
		return "freeze"
	case Swallow:
		return "swallow"
	case Hold:
		return "hold"
	}
	return "unknown fault"
}

// Script gives the plan of the connection that was accepted as number i: 0, 1, …
type Script func(i int) Plan

// Always gives every connection the same plan.
func Always(p Plan) Script { return func(int) Plan { return p } }

// First gives the first connections these plans, in order, and relays the others faithfully.
func First(plans ...Plan) Script {
	return func(i int) Plan {
		if i < len(plans) {
			return plans[i]
		}
		return Plan{}
	}
}
