package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/kolo/xmlrpc"
)

// EncodeCall returns the XML document of a call. Arguments are strings,
// integers, booleans, slices, or structs with xmlrpc tags.
func EncodeCall(method string, args ...any) ([]byte, error) {
	doc, err := xmlrpc.EncodeMethodCall(method, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot encode call of %s: %w", method, err)
	}
	return doc, nil
}

// DecodeResponse reads the XML document that answers a call. A fault is
// returned as *Fault; otherwise the value is stored in what result points to.
// It must be zero before: an empty string is not stored. A nil result asks for
// nothing but the fault.
//
// An array of mixed types is read into a *[]any that already holds a pointer
// for each element.
func DecodeResponse(doc []byte, result any) error {
	err := decode(doc, result)
	if err == nil || errors.As(err, new(*Fault)) {
		return err
	}
	// Supervisor puts log text into its answers as it is. What XML forbids
	// in it must not cost the user the rest.
	if clean := replaceForbidden(doc); clean != nil {
		err = decode(clean, result)
		if err == nil || errors.As(err, new(*Fault)) {
			return err
		}
	}
	return fmt.Errorf("cannot read the server's answer: %w", err)
}

func decode(doc []byte, result any) error {
	response := xmlrpc.Response(doc)
	if err := response.Err(); err != nil {
		var fault xmlrpc.FaultError
		if errors.As(err, &fault) {
			return &Fault{Code: fault.Code, String: fault.String}
		}
		return err
	}
	switch infos := result.(type) {
	case nil:
		return nil
	case *[]ProcessInfo:
		if scanned, ok := scanProcessInfos(doc); ok {
			*infos = scanned
			return nil
		}
	}
	return response.Unmarshal(result)
}

// replaceForbidden returns doc with every byte and character that XML 1.0
// does not allow replaced by U+FFFD, nil if there is none.
func replaceForbidden(doc []byte) []byte {
	var clean bytes.Buffer
	kept := 0
	for i := 0; i < len(doc); {
		r, size := utf8.DecodeRune(doc[i:])
		if !allowed(r, size) {
			clean.Write(doc[kept:i])
			clean.WriteRune(utf8.RuneError)
			kept = i + size
		}
		i += size
	}
	if kept == 0 {
		return nil
	}
	clean.Write(doc[kept:])
	return clean.Bytes()
}

// allowed tells whether XML 1.0 allows a character that took size bytes.
func allowed(r rune, size int) bool {
	switch {
	case r == utf8.RuneError:
		return size > 1
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	}
	return r != 0xFFFE && r != 0xFFFF
}
