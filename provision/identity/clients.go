package identity

import (
	"context"
	"fmt"
	"slices"

	"github.com/dexidp/dex/api/v2"

	"github.com/devenv-oidc/devenv/profiles"
)

// EnsureClients makes Dex have these clients, as they are given; others are
// left alone. Every secret must be filled in.
func (a *Admin) EnsureClients(ctx context.Context, clients []profiles.Client) (changed bool, err error) {
	for _, c := range clients {
		did, err := a.ensureClient(ctx, c)
		if err != nil {
			return changed, fmt.Errorf("could not seed the client %q: %w", c.ID, err)
		}
		changed = changed || did
	}
	return changed, nil
}

func (a *Admin) ensureClient(ctx context.Context, want profiles.Client) (changed bool, err error) {
	client := &api.Client{
		Id: want.ID, Name: want.Name, Secret: want.Secret, Public: want.Public,
		RedirectUris: want.RedirectURIs, TrustedPeers: want.TrustedPeers,
	}
	created, err := a.dex.CreateClient(ctx, &api.CreateClientReq{Client: client})
	if err != nil {
		return false, err
	}
	if !created.GetAlreadyExists() {
		return true, nil
	}
	have, err := a.dex.GetClient(ctx, &api.GetClientReq{Id: want.ID})
	if err != nil {
		return false, err
	}
	old := have.GetClient()
	if old.GetSecret() != want.Secret || old.GetPublic() != want.Public {
		return true, a.replaceClient(ctx, client)
	}
	if old.GetName() == want.Name && slices.Equal(old.GetRedirectUris(), want.RedirectURIs) && slices.Equal(old.GetTrustedPeers(), want.TrustedPeers) {
		return false, nil
	}
	if len(want.RedirectURIs) == 0 && len(old.GetRedirectUris()) > 0 || len(want.TrustedPeers) == 0 && len(old.GetTrustedPeers()) > 0 {
		return true, a.replaceClient(ctx, client) // UpdateClient takes an empty list for "leave it"
	}
	updated, err := a.dex.UpdateClient(ctx, &api.UpdateClientReq{
		Id: want.ID, Name: want.Name, RedirectUris: want.RedirectURIs, TrustedPeers: want.TrustedPeers,
	})
	if err == nil && updated.GetNotFound() {
		err = errRaced
	}
	return true, err
}

// replaceClient changes what UpdateClient cannot: secret and public.
func (a *Admin) replaceClient(ctx context.Context, client *api.Client) error {
	if _, err := a.dex.DeleteClient(ctx, &api.DeleteClientReq{Id: client.GetId()}); err != nil {
		return err
	}
	created, err := a.dex.CreateClient(ctx, &api.CreateClientReq{Client: client})
	if err == nil && created.GetAlreadyExists() {
		err = errRaced
	}
	return err
}
