//! The door of the APIs: who calls, what a path needs, and where callers get tokens.
//!
//! One middleware stands before every route on every listener. Over the Unix socket everybody is administrator:
//! the operating system checked. Over TCP, `table` says what a method and path need.

mod areas;
mod browser;
pub mod claim;
mod endpoints;
pub mod forwarded;
mod guard;
pub mod keys;
pub mod oidc;
pub mod records;
mod second;
pub(crate) mod sessions;
pub mod table;
pub(crate) mod tokens;
pub mod types;
pub(crate) mod users;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{any, delete, get, post};

use crate::api::auth::claim::Claims;
use crate::api::auth::oidc::Login;
use crate::api::auth::second::Codes;
use crate::api::auth::sessions::Seen;
use crate::api::context::Context;
use crate::api::page;
use crate::api::problem::{Problem, in_our_form};
use crate::api::v1;
use crate::base::limits::TOKEN_REQUEST_BYTES_MAX;
use crate::base::{Cidr, Millis, Timestamp};
use crate::engine::token::{Algorithm, Claims as TokenClaims, Logins, Throttle, Trust};
use crate::model::Role;
use crate::model::audit::Via;
use crate::transport::vault::{Passwords, Vault, VaultError, random_name};

/// Who calls. Attached to each request as an extension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// `root` over the Unix socket, the token's subject with a token, empty without one.
    pub subject: String,
    /// None: nobody that we know, on a path that is open.
    pub role: Option<Role>,
    pub via: Via,
}

/// What the configuration says about the door.
#[derive(Clone, Debug)]
pub struct Policy {
    /// False: authentication is off, and everybody is administrator.
    pub closed: bool,
    /// Whose forwarding headers count.
    pub proxies: Vec<Cidr>,
    /// The role of the token that `/token` gives to everybody; none: it gives none.
    pub open_token: Option<Role>,
    /// Our own URL, as tokens name it.
    pub issuer: String,
    /// The cluster, as tokens name it.
    pub cluster: String,
    /// Names by which browsers may call the head; addresses may always.
    pub hosts: BTreeSet<String>,
    /// The file of the claim code, if the head serves only when it has an owner.
    pub claim: Option<PathBuf>,
}

/// The door: cheap to clone.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    context: Context,
    vault: Arc<Vault>,
    /// Swapped when keys of tokens are replaced.
    trust: ArcSwap<Trust>,
    policy: Policy,
    // A mutex, because a count of wrong secrets needs no task; never held across an await.
    throttle: Mutex<Throttle>,
    logins: Mutex<Logins>,
    passwords: Passwords,
    seen: Seen,
    codes: Codes,
    /// Where else people may log in; empty: nowhere.
    oidc: OnceLock<Arc<Login>>,
    /// None: the head needs no owner before it serves.
    claims: Option<Claims>,
}

/// A token to be made.
pub(crate) struct Order {
    pub(crate) subject: String,
    pub(crate) role: Role,
    pub(crate) life: Millis,
    pub(crate) algorithm: Algorithm,
    pub(crate) client: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) areas: Vec<String>,
}

impl Door {
    /// `foreign`: other issuers' keys besides our own.
    #[must_use]
    pub fn new(context: Context, vault: Arc<Vault>, trust: Trust, policy: Policy) -> Door {
        let trust = ArcSwap::from_pointee(trust);
        let claims = policy.claim.as_deref().map(Claims::new);
        if let Some(claims) = &claims
            && !claim::is_claimed(&context.snapshot.load().inventory)
        {
            claims.renew();
        }
        Door(Arc::new(Inner {
            context,
            vault,
            trust,
            policy,
            throttle: Mutex::default(),
            logins: Mutex::default(),
            passwords: Passwords::default(),
            seen: Seen::new(),
            codes: Codes::default(),
            oidc: OnceLock::new(),
            claims,
        }))
    }

    pub(crate) fn context(&self) -> &Context {
        &self.0.context
    }

    /// False: authentication is off.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.policy.closed
    }

    /// Puts the door before these routes, and adds its own.
    pub fn before(&self, routes: Router) -> Router {
        routes.merge(self.routes()).layer(from_fn_with_state(self.clone(), guard::guard))
    }

    fn routes(&self) -> Router {
        let own = Router::new()
            .route("/tokens", get(tokens::list).post(tokens::issue))
            .route("/tokens/{id}", delete(tokens::revoke))
            .route("/keys/{key}/rotate", post(keys::rotate))
            .route("/users", get(users::list).post(users::add))
            .route("/users/{name}", get(users::show).patch(users::alter).delete(users::remove))
            .route("/users/{name}/totp", post(second::give).delete(second::take))
            .route("/claim", post(claim::claim))
            .route("/oidc/login", get(oidc::begin))
            .route("/oidc/callback", get(oidc::finish))
            .route("/reauth", post(sessions::prove))
            .route("/login", post(sessions::login))
            .route("/logout", post(sessions::logout))
            .route("/whoami", get(sessions::whoami))
            .route("/password", post(users::own_password))
            .route("/sessions", get(sessions::list))
            .route("/sessions/{id}", delete(sessions::end))
            .route("/token-clients", get(tokens::clients).post(tokens::add_client))
            .route("/token-clients/{id}", delete(tokens::remove_client))
            .method_not_allowed_fallback(tokens::wrong_method)
            .layer(map_response(in_our_form));
        Router::new()
            .route("/token", any(endpoints::token))
            .route("/oauth2/token", any(endpoints::oauth))
            .route("/oauth/token", any(endpoints::oauth))
            .route("/keys", get(endpoints::keys))
            .route("/.well-known/jwks.json", get(endpoints::keys))
            .route("/.well-known/openid-configuration", get(endpoints::discovery))
            .route("/ca.crt", get(endpoints::root))
            .route("/ca.pem", get(endpoints::roots))
            .route("/ca.sha256", get(endpoints::root_print))
            .route("/site.pub", get(endpoints::site_key))
            .merge(Router::new().nest(v1::PREFIX, own))
            .merge(page::door::router())
            .layer(DefaultBodyLimit::max(TOKEN_REQUEST_BYTES_MAX))
            .with_state(self.clone())
    }

    /// Makes a token.
    pub(crate) fn issue(&self, order: Order, now: Timestamp) -> Result<(TokenClaims, String), Problem> {
        let failed = |error: VaultError| {
            tracing::error!(%error, "a token could not be made");
            Problem::new(
                axum::http::StatusCode::INTERNAL_SERVER_ERROR,
                "the token could not be made; see the log",
            )
        };
        let Order { subject, role, life, algorithm, client, user, areas } = order;
        let policy = &self.0.policy;
        let claims = TokenClaims {
            issuer: policy.issuer.clone(),
            cluster: policy.cluster.clone(),
            subject,
            role,
            issued: now,
            life,
            id: random_name().map_err(failed)?,
            client,
            user,
            areas,
        };
        let token = self.0.vault.sign(algorithm, &claims).map_err(failed)?;
        Ok((claims, token))
    }
}
