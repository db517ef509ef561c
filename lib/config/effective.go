package config

import (
	"strings"

	"sup/lib/expand"
	"sup/lib/value"
)

// Effective returns the text of a key with its expressions replaced, as it can
// be written into a file to mean the same. Expressions of the names in keep
// stay, and so does the whole text where replacing would change its meaning.
// The caller has made sure that the section can be read.
func (v *Values) Effective(name string, keep func(name string) bool) Text {
	t := v.Raw(name)
	if !t.Set {
		return t
	}
	k := v.Schema.Key(name)
	if text, ok := v.resolve(k, t.Text, keep); ok && Writable(name, text) && writableName(k, text) {
		t.Text = text
	}
	return t
}

// writableName reports whether a text can be the value of k as far as names
// go: they are checked as they are written, and may hold a blank after they
// were expanded.
func writableName(k *Key, text string) bool {
	if k.Type != TypeName {
		return true
	}
	name, err := value.ParseName(text)
	return err == nil && name == text
}

// EffectiveFree is Effective for a key that the schema does not know.
func (v *Values) EffectiveFree(e *Entry) string {
	k := &Key{Name: e.Key, Names: NameEnv}
	text, ok := v.resolve(k, e.Value, func(string) bool { return false })
	if !ok || !Writable(e.Key, text) {
		return e.Value
	}
	return text
}

// kept and keptAgain stand for the expressions that stay in the first and in
// the second pass of expanding a text. They are no characters, and a text that
// holds one all the same is left alone.
const (
	kept      = '\uFDD1'
	keptAgain = '\uFDD2'
	marks     = string(kept) + string(keptAgain)
)

// resolve replaces the expressions of a text but for those to keep. ok is
// false if that cannot be done.
func (v *Values) resolve(k *Key, text string, keep func(string) bool) (string, bool) {
	if strings.ContainsAny(text, marks) {
		return "", false
	}
	v.Names.Known = k.Names
	first, stay, ok := v.pass(text, keep, kept)
	if !ok {
		return "", false
	}
	var second []string
	if k.Again != 0 {
		v.Names.Known = k.Again
		if first, second, ok = v.pass(first, keep, keptAgain); !ok {
			return "", false
		}
		first = expand.Escape(first)
	}
	first = expand.Escape(first)
	// Put back what stays: of the first pass as it was, of the second with
	// its percent sign protected from the first.
	var b strings.Builder
	for _, r := range first {
		switch {
		case r == kept && len(stay) > 0:
			b.WriteString(stay[0])
			stay = stay[1:]
		case r == keptAgain && len(second) > 0:
			b.WriteString(expand.Escape(second[0]))
			second = second[1:]
		default:
			b.WriteRune(r)
		}
	}
	return b.String(), true
}

// pass expands a text, and puts a mark for every expression that stays.
func (v *Values) pass(text string, keep func(string) bool, mark rune) (out string, stay []string, ok bool) {
	parts, err := expand.Parse(text)
	if err != nil {
		return "", nil, false
	}
	var b strings.Builder
	for _, p := range parts {
		switch {
		case p.Spec == nil:
			b.WriteString(p.Text)
		case strings.ContainsAny(p.Spec.Name, marks):
			return "", nil, false
		case keep(p.Spec.Name):
			b.WriteRune(mark)
			stay = append(stay, p.Spec.String())
		default:
			s, err := expand.Expand(p.Spec.String(), v.Names.Lookup)
			if err != nil || strings.ContainsAny(s, marks) {
				return "", nil, false
			}
			b.WriteString(s)
		}
	}
	return b.String(), stay, true
}
