package identity

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestForms(t *testing.T) {
	at, err := url.Parse("https://idp.example.com/login/start?x=1")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ page, target, posted string }{
		"Dex's login":        {`<form method="post" action="/auth/local/login?state=a"><input name="login" type="text"><input name="password" type="password"></form>`, "https://idp.example.com/auth/local/login?state=a", "login=a%40b.c&password=secret"},
		"the second form":    {`<form action="/search"><input name="q"></form><form method="POST"><input type="email" name="e"><input type="password" name="p"></form>`, "https://idp.example.com/login/start?x=1", "e=a%40b.c&p=secret"},
		"hidden fields":      {`<form method="post" action="next"><input type="hidden" name="csrf" value="t"><input name="u"><input type="password" name="p"></form>`, "https://idp.example.com/login/next", "csrf=t&p=secret&u=a%40b.c"},
		"approval":           {`<form method="post"><input type="hidden" name="req" value="r"><input type="hidden" name="approval" value="approve"><button>Grant</button></form>`, "https://idp.example.com/login/start?x=1", "approval=approve&req=r"},
		"no form":            {`<p>Sorry</p>`, "", ""},
		"nothing to post to": {`<form method="get"><input type="password" name="p"></form>`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := html.Parse(strings.NewReader(test.page))
			if err != nil {
				t.Fatal(err)
			}
			f := findForm(page)
			if f == nil {
				if test.target != "" {
					t.Fatal("no form was found")
				}
				return
			}
			request, err := f.request(context.Background(), at, "a@b.c", "secret")
			if err != nil {
				t.Fatal(err)
			}
			if err := request.ParseForm(); err != nil {
				t.Fatal(err)
			}
			if got := request.URL.String(); got != test.target || request.PostForm.Encode() != test.posted {
				t.Errorf("%s with %s", got, request.PostForm.Encode())
			}
		})
	}
	page, err := html.Parse(strings.NewReader(`<title>x</title><style>p{}</style><p>Bad <b>Request</b></p>`))
	if text := pageText(page); err != nil || text != "Bad Request" {
		t.Errorf("%q, %v", text, err)
	}
}
