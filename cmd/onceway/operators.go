package main

import (
	"net/http"

	"github.com/onceway/onceway/gateway"
	"github.com/onceway/onceway/gateway/admin"
	"github.com/onceway/onceway/gateway/telemetry"
)

// operators returns the operators' API.
func (s *server) operators(observer *telemetry.Observer) http.Handler {
	tokens := make([]admin.Token, len(s.config.Admin.Tokens))
	for i, t := range s.config.Admin.Tokens {
		tokens[i] = admin.Token{Name: t.Name, Hash: t.Hash}
	}
	var most int64
	for _, r := range s.config.Routes {
		most = max(most, r.Idempotency.MaxResponseBody)
	}
	return admin.API(admin.APIOptions{
		Engine: s.engine, Store: s.store, Observer: observer, Tokens: tokens, Listen: s.config.Admin.Listen,
		Retention: s.config.Retention, MaxBody: most, Storable: s.storable, Log: s.log,
	})
}

// storable returns what is kept of the header of an answer on a route, also on one that is not configured
// any more.
func (s *server) storable(route string, h http.Header) http.Header {
	for _, r := range s.config.Routes {
		if r.Name == route {
			return gateway.Storable(h, r.Idempotency.DropHeaders)
		}
	}
	return gateway.Storable(h, nil)
}
