package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/oauth2"
)

// maxPages is how many pages a login may have, redirects apart.
const maxPages = 5

// maxPage is more than any login page has, in bytes.
const maxPage = 1 << 20

// Connector logs a user in at another provider, as a browser does: by the
// authorization code flow (RFC 6749, section 4.1, with the proof key of RFC 7636)
// and the provider's own form, into which email and password go. Nobody listens
// at the client's redirect URI: what would be sent there is read from the
// redirect. The HTTP client must trust the provider, too.
func (l Login) Connector(ctx context.Context, connector, email, password string) (Tokens, error) {
	config, err := l.config(ctx)
	if err != nil {
		return Tokens{}, err
	}
	for _, uri := range l.Client.RedirectURIs {
		if strings.Contains(uri, "://") && !strings.Contains(uri, "${") {
			config.RedirectURL = uri
			break
		}
	}
	if config.RedirectURL == "" {
		return Tokens{}, &GrantError{Client: l.Client.ID, Grant: "browser", Needs: "a redirect URI"}
	}
	verifier, state := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	address := config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("connector_id", connector))
	answer, err := l.submitForms(ctx, address, config.RedirectURL, email, password)
	if err != nil {
		return Tokens{}, err
	}
	if code := answer.Get("error"); code != "" {
		return Tokens{}, &LoginError{Who: email, Code: code, Description: answer.Get("error_description")}
	}
	if answer.Get("state") != state {
		return Tokens{}, errors.New("could not log in: Dex's answer is to another request")
	}
	token, err := config.Exchange(l.with(ctx), answer.Get("code"), oauth2.VerifierOption(verifier))
	return tokens(email, token, err)
}

// submitForms follows a login until it comes back to the redirect URI, whose
// parameters it returns.
func (l Login) submitForms(ctx context.Context, address, redirect, email, password string) (url.Values, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	var back *url.URL
	client := &http.Client{Transport: l.HTTP.Transport, Timeout: l.HTTP.Timeout, Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect+"?") {
			back = r.URL
			return http.ErrUseLastResponse
		}
		if len(via) > 20 {
			return errors.New("it is redirected without an end")
		}
		return nil
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	asked := false
	for range maxPages {
		if err != nil {
			return nil, err
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, fmt.Errorf("could not follow the login of %s: %w", email, err)
		}
		page, parseErr := html.Parse(http.MaxBytesReader(nil, response.Body, maxPage))
		response.Body.Close()
		if back != nil {
			return back.Query(), nil
		}
		at := response.Request.URL
		if parseErr != nil {
			return nil, fmt.Errorf("could not read the page at %s: %w", at.Host+at.Path, parseErr)
		}
		form := findForm(page)
		switch {
		case form == nil && response.StatusCode >= 400:
			return nil, &LoginError{Who: email, Code: response.Status, Description: pageText(page)}
		case form == nil:
			return nil, fmt.Errorf("could not log %s in: the page at %s has no form", email, at.Host+at.Path)
		case form.password != "" && asked:
			return nil, &LoginError{Who: email, Code: "access_denied", Description: "the provider asked for the password again"}
		}
		asked = form.password != ""
		if request, err = form.request(ctx, at, email, password); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("could not log %s in: after %d pages there is still another one", email, maxPages)
}

// form is what is filled in: names of fields, and values that stand in it.
type form struct {
	action, user, password string
	values                 url.Values
}

func (f *form) request(ctx context.Context, page *url.URL, email, password string) (*http.Request, error) {
	target, err := page.Parse(f.action)
	if err != nil {
		return nil, err
	}
	if f.user != "" {
		f.values.Set(f.user, email)
	}
	if f.password != "" {
		f.values.Set(f.password, password)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(f.values.Encode()))
	if err == nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return request, err
}

// findForm finds the first form that is posted: a login, or the question whether
// the client is trusted.
func findForm(page *html.Node) *form {
	for n := range page.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" || !strings.EqualFold(attribute(n, "method"), "post") {
			continue
		}
		f := &form{action: attribute(n, "action"), values: url.Values{}}
		for field := range n.Descendants() {
			name := attribute(field, "name")
			if field.Type != html.ElementNode || field.Data != "input" || name == "" {
				continue
			}
			switch strings.ToLower(attribute(field, "type")) {
			case "password":
				f.password = name
			case "", "text", "email":
				if f.user == "" {
					f.user = name
				}
			default:
				f.values.Add(name, attribute(field, "value"))
			}
		}
		return f
	}
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// pageText is what a person reads on a page of an error.
func pageText(page *html.Node) string {
	var words []string
	for n := range page.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" && n.Parent.Data != "script" && n.Parent.Data != "title" {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(words, " ")
}
