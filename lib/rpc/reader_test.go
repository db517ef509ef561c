package rpc

import (
	"encoding/xml"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func request(params string) string {
	return "<?xml version='1.0'?>\n<methodCall>\n<methodName>a.b</methodName>\n<params>\n" + params + "</params>\n</methodCall>\n"
}

func param(v string) string { return "<param>\n<value>" + v + "</value>\n</param>\n" }

func TestParseCallValues(t *testing.T) {
	for _, test := range []struct {
		in   string
		want Value
	}{
		{"<int>5</int>", IntValue(5)},
		{"<int> -5 </int>", IntValue(-5)},
		{"<i4>+7</i4>", IntValue(7)},
		{"<i8>5000000000</i8>", IntValue(5000000000)},
		{"<int>1_000</int>", IntValue(1000)},
		{"<int>99999999999999999999</int>", Value{Kind: Int, Int: 1<<63 - 1, Str: "99999999999999999999"}},
		{"<boolean>1</boolean>", BoolValue(true)},
		{"<boolean>0</boolean>", BoolValue(false)},
		{"<boolean>true</boolean>", BoolValue(false)},
		{"<double>1.5</double>", Value{Kind: Double, Float: 1.5}},
		{"<string>x y</string>", StringValue("x y")},
		{"<string/>", StringValue("")},
		{"<string></string>", StringValue("")},
		{"", StringValue("")},
		{" bare ", StringValue(" bare ")},
		{"a&amp;&#98;&#x63;&lt;&gt;&quot;&apos;", StringValue(`a&bc<>"'`)},
		{"<string>a\r\nb\rc</string>", StringValue("a\nb\nc")},
		{"<string>a&#13;b</string>", StringValue("a\rb")},
		{"<string><![CDATA[<a>&amp;]]></string>", StringValue("<a>&amp;")},
		{"a<!-- x -->b<?pi?>c", StringValue("abc")},
		{"x<string>a</string>y", StringValue("a")},
		{"<string>a</string><int>1</int>", StringValue("a")},
		{"<unknown>a</unknown>", StringValue("a")},
		{`<string a="1" b = '>'>a</string >`, StringValue("a")},
		{"<string>grüße \U0001F600</string>", StringValue("grüße \U0001F600")},
		{"<base64>aGVs\n bG8=</base64>", StringValue("hello")},
		{"<dateTime.iso8601>20260102T03:04:05</dateTime.iso8601>", Value{Kind: DateTime, Str: "2026-01-02 03:04:05"}},
		{"<nil/>", Value{}},
		{"<nil></nil>", Value{}},
		{"<array><data/></array>", Value{Kind: Array}},
		{"<array>\n<data>\n<value><int>1</int></value>\n<value>b</value></data></array>",
			Value{Kind: Array, Items: []Value{IntValue(1), StringValue("b")}}},
		{"<struct/>", Value{Kind: Struct}},
		{"<struct>\n<member>\n<name>k</name>\n<value>v</value>\n</member>\n<member><name/><value/></member></struct>",
			Value{Kind: Struct, Members: []Member{{"k", StringValue("v")}, {"", StringValue("")}}}},
	} {
		call, err := ParseCall([]byte(request(param(test.in))))
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if call.Method != "a.b" || len(call.Params) != 1 || !reflect.DeepEqual(call.Params[0], test.want) {
			t.Errorf("%s: got %+v, want %+v", test.in, call, test.want)
		}
	}
}

func TestParseCallForms(t *testing.T) {
	for _, test := range []struct {
		in     string
		method string
		params int
	}{
		{"<methodCall><methodName>a.b</methodName></methodCall>", "a.b", 0},
		{"<methodCall><methodName>a.b</methodName><params/></methodCall>", "a.b", 0},
		{"<methodCall><methodName> a.b </methodName></methodCall>", " a.b ", 0},
		{"\ufeff<methodCall><methodName>a.b</methodName></methodCall>\n<!-- end -->", "a.b", 0},
		{"\ufeff<?xml version='1.0'?><methodCall><methodName>a.b</methodName></methodCall>", "a.b", 0},
		{"\n<methodCall><?xml-stylesheet?><methodName>a.b</methodName></methodCall>", "a.b", 0},
		{"<!DOCTYPE methodCall SYSTEM 'x'><methodCall><methodName>a.b</methodName></methodCall>", "a.b", 0},
		{"<x><methodName>a.b</methodName></x>", "a.b", 0},
		{"<methodName>a.b</methodName>", "a.b", 0},
		{"<methodCall><methodName>a.b</methodName><params><param><value/></param><value>x</value></params></methodCall>", "a.b", 2},
	} {
		call, err := ParseCall([]byte(test.in))
		if err != nil || call.Method != test.method || len(call.Params) != test.params {
			t.Errorf("%s: got %+v, %v", test.in, call, err)
		}
	}
}

func TestParseCallErrors(t *testing.T) {
	deep := strings.Repeat("<array><data><value>", 40) + strings.Repeat("</value></data></array>", 40)
	many := "<array><data>" + strings.Repeat("<value/>", MaxValues) + "</data></array>"
	for _, in := range []string{
		"", "not xml", " <?xml version='1.0'?><methodCall><methodName>a.b</methodName></methodCall>", "<", "<a", "<a>", "<a/>", "</a>", "<a></b>", "<methodCall><params/></methodCall>",
		"<methodCall><methodName></methodName></methodCall>",
		"<methodCall><methodName>a.b</methodName></methodCall> trailing",
		"<methodCall><methodName>a.b</methodName></methodCall><x/>",
		"<!DOCTYPE r [<!ENTITY a 'b'>]><methodCall><methodName>a.b</methodName></methodCall>",
		"<methodCall><methodName>a\x00b</methodName></methodCall>",
		"<methodCall><methodName>a\xffb</methodName></methodCall>",
		"<methodCall><methodName>&a;</methodName></methodCall>",
		"<methodCall><methodName>&#0;</methodName></methodCall>",
		"<methodCall><methodName>a & b</methodName></methodCall>",
		"<methodCall><methodName>a<b/></methodName></methodCall>",
		"<methodCall a><methodName>a.b</methodName></methodCall>",
		"<methodCall a='<'><methodName>a.b</methodName></methodCall>",
		request("<param/>"), request("<param></param>"), request("<x/>"),
		request(param("<int>x</int>")), request(param("<int/>")), request(param("<double>x</double>")),
		request(param("<base64>!</base64>")), request(param("<dateTime.iso8601>x</dateTime.iso8601>")),
		request(param("<array/>")), request(param("<array><value/></array>")), request(param("<array><data><x/></data></array>")),
		request(param("<struct><x/></struct>")), request(param("<struct><member><name>k</name></member></struct>")),
		request(param("<string>a")), request(param("<![CDATA[")), request(param("<!-- ")),
		request(param(deep)), request(param(many)),
	} {
		call, err := ParseCall([]byte(in))
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || call.Method != "" {
			t.Errorf("%.80q: got %+v, %v", in, call, err)
		}
	}
}

func TestValueConversions(t *testing.T) {
	list := Value{Kind: Array, Items: []Value{StringValue("x"), IntValue(1)}}
	for _, test := range []struct {
		v      Value
		text   string
		truth  bool
		number int64
		ok     bool
	}{
		{StringValue(""), "", false, 0, false},
		{StringValue("false"), "false", true, 0, false},
		{StringValue(" 1_0 "), " 1_0 ", true, 10, true},
		{StringValue("_1"), "_1", true, 0, false},
		{StringValue("1__0"), "1__0", true, 0, false},
		{IntValue(0), "0", false, 0, true},
		{IntValue(-3), "-3", true, -3, true},
		{BoolValue(true), "True", true, 1, true},
		{BoolValue(false), "False", false, 0, true},
		{Value{Kind: Double, Float: 2.9}, "2.9", true, 2, true},
		{Value{Kind: Double, Float: 1000}, "1000.0", true, 1000, true},
		{Value{Kind: Double, Float: 1e300}, "1e+300", true, 1<<63 - 1, true},
		{Value{}, "None", false, 0, false},
		{list, "['x', 1]", true, 0, false},
		{Value{Kind: Struct, Members: []Member{{"k", StringValue("v")}}}, "{'k': 'v'}", true, 0, false},
		{Value{Kind: DateTime, Str: "2026-01-01 01:02:03"}, "2026-01-01 01:02:03", true, 0, false},
	} {
		n, ok := test.v.Number()
		if test.v.Text() != test.text || test.v.Truth() != test.truth || ok != test.ok || ok && n != test.number {
			t.Errorf("%+v: got %q, %v, %d, %v", test.v, test.v.Text(), test.v.Truth(), n, ok)
		}
	}
}

// FuzzParseCall checks that no body makes the reader panic, that what it takes
// is XML for encoding/xml too, and that what it has read can be encoded.
func FuzzParseCall(f *testing.F) {
	for _, s := range []string{
		"<methodCall><methodName>a.b</methodName></methodCall>",
		request(param("<int>5</int>") + param("<string>a&amp;b</string>") + param("x")),
		request(param("<array><data><value><struct><member><name>methodName</name><value>a.b</value></member></struct></value></data></array>")),
		request(param("<base64>aGVsbG8=</base64>") + param("<double>1.5</double>") + param("<nil/>")),
		"<!DOCTYPE r><a b='c'><!-- x --><?y z?><methodName><![CDATA[a]]></methodName></a>",
		"<!DOCTYPE r [<!ENTITY a 'b'>]><a/>",
		"<a>\xff\x00&#1;&#xD800;</a>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		call, err := ParseCall(body)
		if err != nil {
			return
		}
		if call.Method == "" {
			t.Fatal("a call without method name")
		}
		var e Encoder
		e.BeginResponse()
		for _, v := range call.Params {
			v.Number()
			v.Truth()
			e.String(v.Text())
		}
		e.EndResponse()
		if err := wellFormed(e.Bytes()); err != nil {
			t.Fatalf("%v in %q", err, e.Bytes())
		}
	})
}

func wellFormed(doc []byte) error {
	d := xml.NewDecoder(strings.NewReader(string(doc)))
	for {
		if _, err := d.Token(); err != nil {
			if err.Error() == "EOF" {
				return nil
			}
			return err
		}
	}
}
