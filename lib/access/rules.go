package access

import (
	"fmt"
	"slices"
	"strings"
)

// Rules say which clients have which role, in the order in which they are
// written: the value of roles=.
//
//	admin: root, @wheel; operate: @deploy(web:*, worker:*); read: *
//
// Each rule is a role and, after a colon, the subjects that have it. Rules are
// separated by semicolons or ends of lines. Nil means that there are no roles:
// whoever is let in may do everything.
type Rules []Grant

// Grant gives one subject a role.
type Grant struct {
	Role    Role
	Subject Subject
	// Names are the processes that the subject may act on; nil means all.
	// Only Operate is ever limited.
	Names []Pattern
}

// Kind says what a subject is.
type Kind uint8

const (
	// Anyone is everybody who is let in: *.
	Anyone Kind = iota
	// User is an account of this machine or, on TCP, of users_file.
	User
	// Group is a group of accounts of this machine: @NAME.
	Group
	// Certificate is an attribute of the subject of a client's certificate:
	// CN=NAME, OU=NAME, O=NAME, or a name that it is for: DNS=NAME.
	Certificate
)

// Subject is who has a role.
type Subject struct {
	Kind Kind
	// Name is that of the user or group, which may be a number, or the value
	// of the attribute.
	Name string
	// Attribute is that of a certificate, in upper case.
	Attribute string
}

// String is the subject as it is written.
func (s Subject) String() string {
	switch s.Kind {
	case Anyone:
		return "*"
	case Group:
		return "@" + s.Name
	case Certificate:
		return s.Attribute + "=" + s.Name
	}
	return s.Name
}

// Attributes are those of certificates that subjects may name.
var Attributes = []string{"CN", "OU", "O", "DNS"}

// Pattern names processes as supctl does: GROUP:PROCESS, or NAME for the process
// of that name in the group of that name. A * stands for any text in one of the
// parts, a ? for any character; a * alone means all processes.
type Pattern struct{ group, process string }

// All is the pattern of all processes.
var All = Pattern{"*", "*"}

func (p Pattern) String() string {
	switch {
	case p == All:
		return "*"
	case p.process == "":
		return p.group
	}
	return p.group + ":" + p.process
}

// Match tells whether a process is meant.
func (p Pattern) Match(group, process string) bool {
	if p.process == "" {
		return group == process && glob(p.group, group)
	}
	return glob(p.group, group) && glob(p.process, process)
}

// glob matches a whole name.
func glob(pattern, name string) bool {
	// at and from are where to go on after the last *, when what followed it
	// did not match.
	at, from := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			at, from = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case at >= 0:
			from++
			p, n = at+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// SyntaxError is what is wrong with a text, and the word that was perhaps not
// understood.
type SyntaxError struct {
	Message string
	// Word is a word that should be one of Words; "" if that is not what is
	// wrong.
	Word  string
	Words []string
	Hint  string
}

func (e *SyntaxError) Error() string { return e.Message }

// roleWords are the names of the roles that can be given.
var roleWords = []string{"admin", "operate", "read"}

// ParseRules reads the value of roles=. The error is a *SyntaxError.
func ParseRules(text string) (Rules, error) {
	rules := Rules{}
	for _, rule := range splitOutside(text, ";\n") {
		rule = strings.TrimSpace(rule)
		if rule == "" {
			continue
		}
		word, list, ok := strings.Cut(rule, ":")
		word = strings.TrimSpace(word)
		if !ok {
			return nil, &SyntaxError{Message: fmt.Sprintf("%q is no rule: there is no colon after the name of a role", rule),
				Hint: "write for example admin: root; read: *"}
		}
		role := Role(max(0, slices.Index(roleNames[:], strings.ToLower(word))))
		if role == None {
			return nil, &SyntaxError{Message: fmt.Sprintf("%q is no role", word), Word: word, Words: roleWords,
				Hint: "the roles are admin, operate and read"}
		}
		grants, err := parseSubjects(role, list)
		if err != nil {
			return nil, err
		}
		rules = append(rules, grants...)
	}
	if len(rules) == 0 {
		return nil, &SyntaxError{Message: "nobody has a role", Hint: "write for example admin: root, @wheel; read: *, or remove the key"}
	}
	return rules, nil
}

func parseSubjects(role Role, list string) (Rules, error) {
	var grants Rules
	for _, item := range splitOutside(list, ",") {
		item = strings.TrimSpace(item)
		name, rest, limited := strings.Cut(item, "(")
		subject, err := parseSubject(role, strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		g := Grant{Role: role, Subject: subject}
		if limited {
			inner, closed := strings.CutSuffix(rest, ")")
			switch {
			case !closed || strings.ContainsAny(inner, "()"):
				return nil, &SyntaxError{Message: fmt.Sprintf("the brackets in %q do not match", item), Hint: "write for example @deploy(web:*, worker:*)"}
			case role != Operate:
				return nil, &SyntaxError{Message: fmt.Sprintf("the role %s cannot be limited to some processes, as in %q", role, item),
					Hint: "only operate can"}
			}
			if g.Names, err = parsePatterns(item, inner); err != nil {
				return nil, err
			}
		}
		grants = append(grants, g)
	}
	return grants, nil
}

func parseSubject(role Role, text string) (Subject, error) {
	if text == "" {
		return Subject{}, &SyntaxError{Message: fmt.Sprintf("a name is missing among those who have the role %s", role),
			Hint: "write a user, @ and a group, CN= and the name in a certificate, or * for everybody"}
	}
	attribute, value, isAttribute := strings.Cut(text, "=")
	switch {
	case text == "*":
		return Subject{Kind: Anyone}, nil
	case isAttribute:
		a := strings.ToUpper(strings.TrimSpace(attribute))
		if !slices.Contains(Attributes, a) {
			return Subject{}, &SyntaxError{Message: fmt.Sprintf("%q is no attribute of a certificate", attribute), Word: a, Words: Attributes,
				Hint: "write CN=, OU=, O= or DNS="}
		}
		if value = strings.TrimSpace(value); value == "" {
			return Subject{}, &SyntaxError{Message: fmt.Sprintf("there is no name after %s=", a), Hint: "write for example CN=deploy"}
		}
		return Subject{Kind: Certificate, Attribute: a, Name: value}, nil
	case strings.ContainsAny(text, " \t\r:*?)"):
		hint := "write a user, @ and a group, CN= and the name in a certificate, or * for everybody"
		if role, _, colon := strings.Cut(text, ":"); colon && slices.Contains(roleWords, strings.ToLower(lastWord(role))) {
			hint = "separate the rules by semicolons"
		}
		return Subject{}, &SyntaxError{Message: fmt.Sprintf("%q is no name of a user or group", text), Hint: hint}
	}
	name, group := strings.CutPrefix(text, "@")
	if name == "" {
		return Subject{}, &SyntaxError{Message: "there is no name after @", Hint: "write for example @wheel"}
	}
	if group {
		return Subject{Kind: Group, Name: name}, nil
	}
	return Subject{Kind: User, Name: name}, nil
}

func lastWord(s string) string {
	words := strings.Fields(s)
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

func parsePatterns(item, text string) ([]Pattern, error) {
	var list []Pattern
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		group, process, both := strings.Cut(word, ":")
		switch {
		case word == "" || both && group == "" || strings.ContainsAny(word, " \t\r;="):
			return nil, &SyntaxError{Message: fmt.Sprintf("%q in %q names no processes", word, item),
				Hint: "write GROUP:PROCESS, GROUP:* or NAME"}
		case word == "*":
			list = append(list, All)
		case both && process == "":
			list = append(list, Pattern{group, "*"})
		default:
			list = append(list, Pattern{group, process})
		}
	}
	return list, nil
}

// splitOutside splits text at any of the separators that is not in brackets.
func splitOutside(text, separators string) []string {
	var parts []string
	depth, begin := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth <= 0 && strings.IndexByte(separators, c) >= 0:
			parts = append(parts, text[begin:i])
			begin = i + 1
		}
	}
	return append(parts, text[begin:])
}

// String is the rules as they are written, one role after the other.
func (r Rules) String() string {
	var b strings.Builder
	for i, g := range r {
		switch {
		case i == 0:
			b.WriteString(g.Role.String() + ": ")
		case r[i-1].Role != g.Role:
			b.WriteString("; " + g.Role.String() + ": ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(g.Subject.String())
		if g.Names != nil {
			b.WriteByte('(')
			for j, p := range g.Names {
				if j > 0 {
					b.WriteString(", ")
				}
				b.WriteString(p.String())
			}
			b.WriteByte(')')
		}
	}
	return b.String()
}

// Decide gives the role of a client who is each of the subjects for which is
// returns true: the highest that one of them has. The names are those that an
// operator may act on, nil for all.
func (r Rules) Decide(is func(Subject) bool) (Role, []Pattern) {
	role, all := None, false
	var names []Pattern
	for _, g := range r {
		if g.Role < role || !is(g.Subject) {
			continue
		}
		role = max(role, g.Role)
		if g.Role == Operate {
			all = all || g.Names == nil
			names = append(names, g.Names...)
		}
	}
	if role != Operate || all {
		names = nil
	}
	return role, names
}
