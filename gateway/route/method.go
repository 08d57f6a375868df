package route

import (
	"net/http"
	"slices"
	"strings"

	"github.com/onceway/onceway/gateway/config"
)

// IsSafe reports whether a method is safe (RFC 9110, section 9.2.1). Unknown methods are not.
func IsSafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// IsIdempotent reports whether RFC 9110, section 9.2.2, calls a method idempotent. Unknown methods
// are not.
func IsIdempotent(method string) bool {
	return IsSafe(method) || method == "PUT" || method == "DELETE"
}

// Protected reports whether a request of route is protected: the mode is required or optional, and
// the method is in the list, or, without a list, is not idempotent. gRPC streams through. So do
// WebSocket upgrades, because their method is GET (RFC 6455, section 4.1), which is never protected;
// an Upgrade field on another method changes nothing, or any client could switch its protection off.
// In optional mode a request without a key streams through, too: that is for whoever reads the key.
func Protected(route *config.Route, method string, header http.Header) bool {
	switch route.Idempotency.Mode {
	case config.ModeOff:
		return false
	case config.ModeRequired, config.ModeOptional:
	default:
		panic("route: not a mode")
	}
	if methods := route.Idempotency.Methods; len(methods) > 0 {
		if !slices.Contains(methods, method) {
			return false
		}
	} else if IsIdempotent(method) {
		return false
	}
	return !isGRPC(header)
}

// isGRPC recognises application/grpc, application/grpc+proto, application/grpc-web and their like. A
// request with several content types is not one of them.
func isGRPC(header http.Header) bool {
	values := header["Content-Type"]
	if len(values) != 1 {
		return false
	}
	const prefix = "application/grpc"
	media := strings.TrimLeft(values[0], " \t")
	return len(media) >= len(prefix) && strings.EqualFold(media[:len(prefix)], prefix)
}
