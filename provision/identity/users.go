package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dexidp/dex/api/v2"
	"golang.org/x/crypto/bcrypt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// bcryptCost is the least that Dex accepts (10 to 16, checked at every login):
// a test environment's passwords are in a file beside it anyway.
const bcryptCost = 10

var passwords = schema.GroupVersionResource{Group: "dex.coreos.com", Version: "v1", Resource: "passwords"}

// EnsureUsers makes Dex have these users, as they are given. Every password must
// be filled in. Others are left alone; PruneUsers deletes those that devenv made.
//
// Groups and emailVerified are not in the gRPC API (dexidp/dex#4972): they are
// patched into Dex's stored object.
func (a *Admin) EnsureUsers(ctx context.Context, users []profiles.User) (changed bool, err error) {
	for _, u := range users {
		did, err := a.ensurePassword(ctx, u)
		if err != nil {
			return changed, fmt.Errorf("could not seed the user %q: %w", u.Email, err)
		}
		changed = changed || did
	}
	stored, err := a.storedPasswords(ctx)
	if err != nil {
		return changed, err
	}
	for _, u := range users {
		did, err := a.ensureAttributes(ctx, u, stored[strings.ToLower(u.Email)])
		if err != nil {
			return changed, fmt.Errorf("could not set the groups of the user %q: %w", u.Email, err)
		}
		changed = changed || did
	}
	return changed, nil
}

func (a *Admin) ensurePassword(ctx context.Context, want profiles.User) (changed bool, err error) {
	verified, err := a.dex.VerifyPassword(ctx, &api.VerifyPasswordReq{Email: want.Email, Password: want.Password})
	if err != nil {
		return false, err
	}
	if verified.GetVerified() {
		return a.ensureUsername(ctx, want)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(want.Password), bcryptCost)
	if err != nil {
		return false, err
	}
	if verified.GetNotFound() {
		created, err := a.dex.CreatePassword(ctx, &api.CreatePasswordReq{Password: &api.Password{
			Email: want.Email, Hash: hash, Username: want.Username, UserId: userID(want.Email),
		}})
		if err == nil && created.GetAlreadyExists() {
			err = errRaced
		}
		return true, err
	}
	updated, err := a.dex.UpdatePassword(ctx, &api.UpdatePasswordReq{Email: want.Email, NewHash: hash, NewUsername: want.Username})
	if err == nil && updated.GetNotFound() {
		err = errRaced
	}
	return true, err
}

func (a *Admin) ensureUsername(ctx context.Context, want profiles.User) (changed bool, err error) {
	list, err := a.dex.ListPasswords(ctx, &api.ListPasswordReq{})
	if err != nil {
		return false, err
	}
	for _, p := range list.GetPasswords() {
		if strings.EqualFold(p.GetEmail(), want.Email) && p.GetUsername() != want.Username {
			_, err := a.dex.UpdatePassword(ctx, &api.UpdatePasswordReq{Email: want.Email, NewUsername: want.Username})
			return true, err
		}
	}
	return false, nil
}

// userID is stable, so that a recreated user keeps their subject.
func userID(email string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(email)))
	return hex.EncodeToString(sum[:16])
}

func (a *Admin) passwordObjects() dynamic.ResourceInterface {
	return a.kube.Dynamic.Resource(passwords).Namespace(Namespace)
}

// storedPasswords are Dex's objects by lower-cased e-mail.
func (a *Admin) storedPasswords(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	return stored(ctx, a.passwordObjects(), "users", func(o map[string]any) string {
		email, _, _ := unstructured.NestedString(o, "email")
		return strings.ToLower(email)
	})
}

// stored are Dex's objects of a kind by a key: their names are a hash that is
// Dex's own business.
func stored(ctx context.Context, objects dynamic.ResourceInterface, what string, key func(map[string]any) string) (map[string]*unstructured.Unstructured, error) {
	list, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("could not read Dex's %s: %w", what, err)
	}
	byKey := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		byKey[key(list.Items[i].Object)] = &list.Items[i]
	}
	return byKey, nil
}

func (a *Admin) ensureAttributes(ctx context.Context, want profiles.User, stored *unstructured.Unstructured) (changed bool, err error) {
	if stored == nil {
		return false, errRaced
	}
	groups, _, _ := unstructured.NestedStringSlice(stored.Object, "groups")
	if slices.Equal(groups, want.Groups) && emailVerified(stored) == *want.EmailVerified && ours(stored) {
		return false, nil
	}
	patch, err := json.Marshal(kube.Object{
		"groups": want.Groups, "emailVerified": want.EmailVerified, "metadata": kube.Object{"labels": kube.ManagedLabels()},
	})
	if err != nil {
		return false, err
	}
	_, err = a.passwordObjects().Patch(ctx, stored.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager})
	return true, err
}

func emailVerified(stored *unstructured.Unstructured) bool {
	verified, found, _ := unstructured.NestedBool(stored.Object, "emailVerified")
	return verified || !found // as Dex reads it
}

// ours says whether devenv made one of Dex's objects; Dex keeps labels when it
// writes an object again.
func ours(stored *unstructured.Unstructured) bool {
	return stored.GetLabels()["app.kubernetes.io/managed-by"] == kube.FieldManager
}

// PruneUsers deletes the users that devenv made and that are not among these.
func (a *Admin) PruneUsers(ctx context.Context, keep []profiles.User) (changed bool, err error) {
	stored, err := a.storedPasswords(ctx)
	if err != nil {
		return false, err
	}
	for email, object := range stored {
		if !ours(object) || slices.ContainsFunc(keep, func(u profiles.User) bool { return strings.EqualFold(u.Email, email) }) {
			continue
		}
		if _, err := a.dex.DeletePassword(ctx, &api.DeletePasswordReq{Email: email}); err != nil {
			return changed, fmt.Errorf("could not delete the user %q, whom the profile does not have: %w", email, err)
		}
		changed = true
	}
	return changed, nil
}
