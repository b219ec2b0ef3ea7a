package profiles

import (
	"cmp"
	"slices"
	"strings"
)

// AuthenticationConfiguration is the API server's file of that kind, with the
// same fields but for what only the environment knows: an issuer without a URL
// is the environment's own: Dex, or spec.issuer.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
type AuthenticationConfiguration struct {
	// JWT are the issuers that are trusted, in the first cluster the environment's
	// own among them.
	JWT []JWTAuthenticator `json:"jwt" jsonschema:"minItems=1,maxItems=64"`
	// Anonymous says which requests may come without a token.
	Anonymous *AnonymousAuth `json:"anonymous,omitempty"`
}

// JWTAuthenticator is one issuer, and how its tokens become users.
type JWTAuthenticator struct {
	Issuer TokenIssuer `json:"issuer"`
	// ClaimValidationRules must all hold for a token.
	ClaimValidationRules []ClaimValidationRule `json:"claimValidationRules,omitempty"`
	ClaimMappings        ClaimMappings         `json:"claimMappings"`
	// UserValidationRules must all hold for the user that comes of it.
	UserValidationRules []UserValidationRule `json:"userValidationRules,omitempty"`
}

// TokenIssuer is who signs tokens.
type TokenIssuer struct {
	// URL of the issuer. Without it, and without a cluster, it is the
	// environment's own.
	URL string `json:"url,omitempty"`
	// Cluster of the environment whose service accounts' tokens are trusted; it
	// must be a publicIssuer.
	Cluster string `json:"cluster,omitempty"`
	// DiscoveryURL to ask in the place of the issuer's own.
	DiscoveryURL string `json:"discoveryURL,omitempty"`
	// CertificateAuthority in PEM; for the environment's own and for a
	// cluster it is known.
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
	// Audiences of which a token must have one: for the environment's own,
	// ids of clients.
	Audiences []string `json:"audiences" jsonschema:"minItems=1"`
	// AudienceMatchPolicy is MatchAny where there are several.
	AudienceMatchPolicy string `json:"audienceMatchPolicy,omitempty" jsonschema:"enum=MatchAny"`
}

// ClaimValidationRule is a claim with the value it must have, or a CEL
// expression over claims that must be true.
type ClaimValidationRule struct {
	Claim         string `json:"claim,omitempty"`
	RequiredValue string `json:"requiredValue,omitempty"`
	Expression    string `json:"expression,omitempty"`
	// Message for the API server's log where the expression is false.
	Message string `json:"message,omitempty"`
}

// ClaimMappings make a user out of claims.
type ClaimMappings struct {
	Username PrefixedClaimOrExpression  `json:"username"`
	Groups   *PrefixedClaimOrExpression `json:"groups,omitempty"`
	UID      *ClaimOrExpression         `json:"uid,omitempty"`
	Extra    []ExtraMapping             `json:"extra,omitempty"`
}

// PrefixedClaimOrExpression is a claim and what stands before its value, which
// may be "" but not absent, or a CEL expression.
type PrefixedClaimOrExpression struct {
	Claim      string  `json:"claim,omitempty"`
	Prefix     *string `json:"prefix,omitempty"`
	Expression string  `json:"expression,omitempty"`
}

// ClaimOrExpression is a claim or a CEL expression.
type ClaimOrExpression struct {
	Claim      string `json:"claim,omitempty"`
	Expression string `json:"expression,omitempty"`
}

// ExtraMapping is one extra attribute of a user.
type ExtraMapping struct {
	Key             string `json:"key" jsonschema:"minLength=1"`
	ValueExpression string `json:"valueExpression" jsonschema:"minLength=1"`
}

// UserValidationRule is a CEL expression over the user that must be true.
type UserValidationRule struct {
	Expression string `json:"expression" jsonschema:"minLength=1"`
	Message    string `json:"message,omitempty"`
}

// AnonymousAuth allows requests without a token.
type AnonymousAuth struct {
	Enabled bool `json:"enabled"`
	// Conditions limit it to paths; everywhere when empty.
	Conditions []AnonymousAuthCondition `json:"conditions,omitempty"`
}

// AnonymousAuthCondition is a path, such as /livez.
type AnonymousAuthCondition struct {
	Path string `json:"path" jsonschema:"minLength=1"`
}

// IssuerTrust is how a cluster trusts one issuer, by flags or by configuration.
type IssuerTrust struct {
	// ClientID is the audience that tokens are asked for: the first one.
	ClientID string
	// UsernameClaim and UsernamePrefix are those of OIDCFlags; both are empty
	// where an expression makes the user name.
	UsernameClaim, UsernamePrefix string
	UsernameExpression            string
	// GroupsClaim and GroupsPrefix are those of OIDCFlags.
	GroupsClaim, GroupsPrefix string
	GroupsExpression          string
}

// Provider is how the cluster trusts the environment's own issuer; without a
// ClientID if it does not.
func (t Trust) Provider() IssuerTrust {
	if t.Flags != nil {
		return IssuerTrust{
			ClientID: t.Flags.ClientID, UsernameClaim: cmp.Or(t.Flags.UsernameClaim, "sub"), UsernamePrefix: t.Flags.UsernamePrefix,
			GroupsClaim: t.Flags.GroupsClaim, GroupsPrefix: t.Flags.GroupsPrefix,
		}
	}
	return t.first(func(i TokenIssuer) bool { return i.URL == "" && i.Cluster == "" })
}

// Cluster is how the cluster trusts another's service accounts by tokens for an
// audience; without a ClientID if it does not.
func (t Trust) Cluster(name, audience string) IssuerTrust {
	return t.first(func(i TokenIssuer) bool { return i.Cluster == name && slices.Contains(i.Audiences, audience) })
}

// Issuers are the clusters whose service accounts are trusted.
func (t Trust) Issuers() []string {
	var names []string
	if t.Configuration != nil {
		for _, a := range t.Configuration.JWT {
			if a.Issuer.Cluster != "" {
				names = append(names, a.Issuer.Cluster)
			}
		}
	}
	return names
}

func (t Trust) first(is func(TokenIssuer) bool) IssuerTrust {
	if t.Configuration == nil {
		return IssuerTrust{}
	}
	for _, a := range t.Configuration.JWT {
		if is(a.Issuer) && len(a.Issuer.Audiences) > 0 {
			return a.trust()
		}
	}
	return IssuerTrust{}
}

func (a JWTAuthenticator) trust() IssuerTrust {
	username := a.ClaimMappings.Username
	trust := IssuerTrust{ClientID: a.Issuer.Audiences[0], UsernameClaim: username.Claim, UsernameExpression: username.Expression}
	if username.Prefix != nil {
		trust.UsernamePrefix = cmp.Or(*username.Prefix, "-") // as the flag has it
	}
	if groups := a.ClaimMappings.Groups; groups != nil {
		trust.GroupsClaim, trust.GroupsExpression = groups.Claim, groups.Expression
		if groups.Prefix != nil {
			trust.GroupsPrefix = *groups.Prefix
		}
	}
	return trust
}

// NeedsVerified says whether the API server makes user names of e-mails, which
// it does only of verified ones.
func (t IssuerTrust) NeedsVerified() bool {
	return t.UsernameClaim == "email" || strings.Contains(t.UsernameExpression, "claims.email")
}
