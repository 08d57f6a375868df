package gateway

import "fmt"

// InUse tells what requests hold at this moment.
func (g *Gateway) InUse() string {
	slots := 0
	for _, u := range g.upstreams {
		slots += u.InFlight()
	}
	return fmt.Sprintf("%d slots, %d bytes", slots, g.bodies.used.Load())
}

// WaitingForTurns tells how many whole answers wait in files.
func (g *Gateway) WaitingForTurns() int {
	g.bodies.loading.mu.Lock()
	defer g.bodies.loading.mu.Unlock()
	return len(g.bodies.loading.queue)
}
