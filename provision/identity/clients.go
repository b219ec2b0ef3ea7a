package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/dexidp/dex/api/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// EnsureClients makes Dex have these clients, as they are given. Every secret
// must be filled in. Others are left alone; PruneClients deletes those that
// devenv made.
func (a *Admin) EnsureClients(ctx context.Context, clients []profiles.Client) (changed bool, err error) {
	for _, c := range clients {
		did, err := a.ensureClient(ctx, c)
		if err != nil {
			return changed, fmt.Errorf("could not seed the client %q: %w", c.ID, err)
		}
		changed = changed || did
	}
	return changed, a.markClients(ctx, clients)
}

// markClients labels what gRPC offers no label for.
func (a *Admin) markClients(ctx context.Context, clients []profiles.Client) error {
	stored, err := a.storedClients(ctx)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(kube.Object{"metadata": kube.Object{"labels": kube.ManagedLabels()}})
	if err != nil {
		return err
	}
	for _, c := range clients {
		object := stored[c.ID]
		if object == nil || ours(object) {
			continue
		}
		if _, err := a.clientObjects().Patch(ctx, object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager}); err != nil {
			return fmt.Errorf("could not label the client %q: %w", c.ID, err)
		}
	}
	return nil
}

// PruneClients deletes the clients that devenv made and that are not among
// these.
func (a *Admin) PruneClients(ctx context.Context, keep []profiles.Client) (changed bool, err error) {
	stored, err := a.storedClients(ctx)
	if err != nil {
		return false, err
	}
	for id, object := range stored {
		if !ours(object) || slices.ContainsFunc(keep, func(c profiles.Client) bool { return c.ID == id }) {
			continue
		}
		if _, err := a.dex.DeleteClient(ctx, &api.DeleteClientReq{Id: id}); err != nil {
			return changed, fmt.Errorf("could not delete the client %q, which the profile does not have: %w", id, err)
		}
		changed = true
	}
	return changed, nil
}

var clientResource = schema.GroupVersionResource{Group: "dex.coreos.com", Version: "v1", Resource: "oauth2clients"}

func (a *Admin) clientObjects() dynamic.ResourceInterface {
	return a.kube.Dynamic.Resource(clientResource).Namespace(Namespace)
}

// storedClients are Dex's objects by the client's id.
func (a *Admin) storedClients(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	return stored(ctx, a.clientObjects(), "clients", func(o map[string]any) string {
		id, _, _ := unstructured.NestedString(o, "id")
		return id
	})
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
