package event

import "unicode/utf8"

// Text is b as text: every byte that is not part of a UTF-8 character becomes
// a replacement character.
func Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}

// Decoder turns the output of one stream, read in chunks that may end in the
// middle of a character, into text. The zero value is ready for use.
type Decoder struct {
	held  [utf8.UTFMax - 1]byte // the beginning of a character
	nheld int
}

// Decode is the text of the next chunk. An unfinished character at its end
// waits for the chunk after it, so the text may be empty.
func (d *Decoder) Decode(chunk []byte) string {
	if d.nheld > 0 {
		chunk = append(append(make([]byte, 0, d.nheld+len(chunk)), d.held[:d.nheld]...), chunk...)
	}
	n := unfinished(chunk)
	d.nheld = copy(d.held[:], chunk[len(chunk)-n:])
	return Text(chunk[:len(chunk)-n])
}

// Flush is the text of what still waits when the stream has ended.
func (d *Decoder) Flush() string {
	text := Text(d.held[:d.nheld])
	d.nheld = 0
	return text
}

// unfinished is the number of bytes at the end of b that are the beginning of
// a character of which the rest may follow.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
