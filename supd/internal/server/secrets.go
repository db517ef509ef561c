package server

import (
	"errors"
	"time"

	"sup/lib/plan"
)

// CheckSecrets tells whether the users and certificates of servers can be read.
func CheckSecrets(servers []plan.Server) error {
	for _, conf := range servers {
		if _, err := newGate(conf, new(brake), new(accounts)); err != nil {
			return err
		}
		if _, err := newCertificates(conf, nil); err != nil {
			return err
		}
	}
	return nil
}

// secrets reads the users and the certificate of a server. What cannot be read is
// as it was in the server before, or, where that is allowed, missing.
func (s *Server) secrets(conf plan.Server) (*gate, *certificates, error) {
	var old *endpoint
	if s.opts.Before != nil {
		old = s.opts.Before.endpointAt(Address(conf))
	}
	tolerate := func(err error, kept bool, without string) error {
		var u *unreadable
		switch {
		case !errors.As(err, &u):
			return err
		case kept:
			s.late = append(s.late, err.Error()+"; what was read before stays")
		case s.opts.Tolerant:
			s.late = append(s.late, err.Error()+"; "+without)
		default:
			return err
		}
		return nil
	}
	gate, err := newGate(conf, s.brake, &s.accounts)
	if err != nil {
		kept := old != nil && old.gate.users != nil && old.conf.UsersFile == conf.UsersFile
		if err := tolerate(err, kept, "nobody of them is let in until that is mended"); err != nil {
			return nil, nil, err
		}
		list := &userList{state: stateAt(conf.UsersFile), when: time.Now(), trouble: err.Error()}
		if kept {
			list.users = old.gate.users.listed.Load().users
		}
		gate.users.listed.Store(list)
	}
	if old != nil {
		gate.right = old.gate.right
	}
	certs, err := newCertificates(conf, func() Logger { return s.log })
	if err != nil {
		kept := old != nil && old.tls != nil && old.conf.Certificate == conf.Certificate && old.conf.Key == conf.Key &&
			old.conf.ClientCA == conf.ClientCA && old.conf.ClientCertOptional == conf.ClientCertOptional
		if err := tolerate(err, kept, "nobody is let in there until that is mended"); err != nil {
			return nil, nil, err
		}
		if kept {
			now := *certs.loaded.Load()
			now.config = old.tls.loaded.Load().config
			certs.loaded.Store(&now)
		}
	}
	return gate, certs, nil
}
