package server

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"sup/lib/plan"
)

// hostGuard refuses requests whose Host header names a server that is not us:
// a foreign page that had its own name resolved to our address. It stands
// before TCP servers without a password; with one, such a page fails there.
type hostGuard struct {
	names map[string]bool
}

func newHostGuard(s plan.Server) *hostGuard {
	if s.Unix || protected(s) {
		return nil
	}
	g := &hostGuard{names: map[string]bool{strings.ToLower(s.Host): true}}
	if name, err := os.Hostname(); err == nil {
		g.names[strings.ToLower(name)] = true
	}
	for _, name := range s.AllowedHosts {
		g.names[strings.ToLower(name)] = true
	}
	return g
}

// allow tells whether a Host header is acceptable. Names without a dot cannot be
// an attacker's, and are what containers call each other. A request without
// Host does not come from a browser.
func (g *hostGuard) allow(host string) bool {
	host = strings.ToLower(hostOnly(host))
	if !strings.Contains(host, ".") && !strings.Contains(host, ":") || strings.HasSuffix(host, ".localhost") || g.names[host] {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// hostOnly cuts the port off, and the brackets around an IPv6 address.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// sameOrigin tells whether a request may change something, as far as it tells
// where it comes from: not from a page of another site. Scripts send none of
// these headers.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	for _, name := range []string{"Origin", "Referer"} {
		v := r.Header.Get(name)
		if v == "" {
			continue
		}
		u, err := url.Parse(v)
		if err != nil || u.Host == "" || !sameHost(u.Host, r.Host) && !sameHost(u.Host, r.Header.Get("X-Forwarded-Host")) {
			return false
		}
	}
	return true
}

// sameHost compares two hosts with their ports, of which those that belong to
// the scheme may be left out.
func sameHost(a, b string) bool {
	trim := func(s string) string {
		s = strings.TrimSuffix(strings.TrimSuffix(s, ":80"), ":443")
		return strings.ToLower(s)
	}
	return trim(a) == trim(b)
}
