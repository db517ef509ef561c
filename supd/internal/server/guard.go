package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"sup/lib/plan"
)

// hostGuard refuses requests whose Host header names a server that is not us:
// a foreign page that had its own name resolved to our address. It stands
// before TCP servers without a password; with one, such a page fails there.
type hostGuard struct {
	names map[string]bool
}

func newHostGuard(s plan.Server) *hostGuard {
	if s.Unix || s.AsksWho() {
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

// origin says where a request comes from, as far as it tells.
type origin uint8

const (
	// ownOrigin is one of our pages, or the person at the browser.
	ownOrigin origin = iota
	// noOrigin is not a browser: scripts send none of the headers.
	noOrigin
	// unprovenOrigin is a browser that does not tell. Without TLS it sends no
	// Sec-Fetch-Site, with a GET no Origin, and the page on which a link or an
	// image stands can make it leave the Referer out.
	unprovenOrigin
	// foreignOrigin is a page of another site.
	foreignOrigin
)

// originOf judges by the headers that only a browser itself can set. What it
// says in Sec-Fetch-Site counts alone: a proxy between us may have changed the
// Host with which the others would have to agree.
func originOf(r *http.Request) origin {
	proven := false
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		switch site {
		case "":
		case "same-origin", "none":
			proven = true
		default:
			return foreignOrigin
		}
	}
	if proven {
		return ownOrigin
	}
	for _, name := range []string{"Origin", "Referer"} {
		for _, v := range r.Header.Values(name) {
			if v == "" {
				continue
			}
			if !ownHost(v, r) {
				return foreignOrigin
			}
			proven = true
		}
	}
	switch {
	case proven:
		return ownOrigin
	case isBrowser(r.UserAgent()):
		return unprovenOrigin
	}
	return noOrigin
}

// browserAgent is how every browser's User-Agent begins.
const browserAgent = "Mozilla/"

func isBrowser(agent string) bool { return strings.HasPrefix(agent, browserAgent) }

// ownHost tells whether the URL of an Origin or a Referer names the host that
// the request was sent to.
func ownHost(page string, r *http.Request) bool {
	u, err := url.Parse(page)
	if err != nil || u.Host == "" {
		return false
	}
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	same := func(host string) bool {
		return host != "" && strings.EqualFold(strings.TrimSuffix(host, port), strings.TrimSuffix(u.Host, port))
	}
	return same(r.Host) || same(r.Header.Get("X-Forwarded-Host"))
}

// formTypes are the content types that a form of a page can send to another
// site.
var formTypes = map[string]bool{"": true, "text/plain": true, "application/x-www-form-urlencoded": true, "multipart/form-data": true}

// mayCall tells whether an XML-RPC call is acceptable from where it comes.
func mayCall(r *http.Request) bool {
	switch originOf(r) {
	case foreignOrigin:
		return false
	case unprovenOrigin:
		kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		return !formTypes[strings.ToLower(strings.TrimSpace(kind))]
	}
	return true
}

// consents makes and checks the tokens of the page that asks whether an action
// is wanted. Another site can make a browser load that page, but cannot read
// it.
type consents struct{ key [32]byte }

func newConsents() *consents {
	c := new(consents)
	rand.Read(c.key[:])
	return c
}

// consentHours is for how many hours a token is good, begun ones included.
const consentHours = 2

func (c *consents) token(a action) string { return c.at(a, time.Now().Unix()/3600) }

func (c *consents) at(a action, hour int64) string {
	mac := hmac.New(sha256.New, c.key[:])
	fmt.Fprintf(mac, "%d %q %q %q", hour, a.name, a.process, a.group)
	return hex.EncodeToString(mac.Sum(nil))
}

func (c *consents) valid(a action, token string) bool {
	now := time.Now().Unix() / 3600
	for hour := now; hour > now-consentHours; hour-- {
		if hmac.Equal([]byte(c.at(a, hour)), []byte(token)) {
			return true
		}
	}
	return false
}
