//! What each method and path needs: one table, read from the top, and closed where it is silent.
//!
//! Booting machines have no token; what they fetch is open. Of the replaced services' paths those are open
//! that were open there. Other reads need a viewer, writes an operator, tokens and values of secrets an administrator.

use axum::http::Method;

use crate::engine::image::path::percent_decode;
use crate::model::Role;

/// What a request needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Need {
    /// Nothing.
    Open,
    /// A token of this role or a higher one.
    At(Role),
}

/// Which methods a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Methods {
    /// GET, HEAD and OPTIONS: what changes nothing.
    Read,
    Post,
    Patch,
    Delete,
    Any,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub methods: Methods,
    /// `{}` stands for one segment; `/**` at the end for what is below, and for the path itself.
    pub path: &'static str,
    pub need: Need,
}

const OPEN: Need = Need::Open;
const VIEWER: Need = Need::At(Role::Viewer);
const OPERATOR: Need = Need::At(Role::Operator);
const ADMIN: Need = Need::At(Role::Admin);

const fn read(path: &'static str, need: Need) -> Rule {
    Rule { methods: Methods::Read, path, need }
}

const fn post(path: &'static str, need: Need) -> Rule {
    Rule { methods: Methods::Post, path, need }
}

const fn patch(path: &'static str, need: Need) -> Rule {
    Rule { methods: Methods::Patch, path, need }
}

const fn delete(path: &'static str, need: Need) -> Rule {
    Rule { methods: Methods::Delete, path, need }
}

const fn any(path: &'static str, need: Need) -> Rule {
    Rule { methods: Methods::Any, path, need }
}

/// The table. The first rule that fits counts.
pub const RULES: &[Rule] = &[
    // Our own API.
    any("/api/v1/tokens/**", ADMIN),
    any("/api/v1/token-clients/**", ADMIN),
    any("/api/v1/keys/**", ADMIN),
    read("/api/v1/secrets/**", VIEWER),
    any("/api/v1/secrets/**", ADMIN),
    any("/api/v1/trust/void", ADMIN),
    any("/api/v1/trust/tpms/{}/anew", ADMIN),
    any("/api/v1/trust/tpms/{}/unpin", ADMIN),
    any("/api/v1/audit/**", ADMIN),
    any("/api/v1/users/**", ADMIN),
    any("/api/v1/sessions/**", ADMIN),
    post("/api/v1/claim", OPEN),
    post("/api/v1/login", OPEN),
    read("/api/v1/oidc/login", OPEN),
    read("/api/v1/oidc/callback", OPEN),
    post("/api/v1/reauth", VIEWER),
    post("/api/v1/logout", VIEWER),
    post("/api/v1/password", VIEWER),
    read("/api/v1/openapi.json", OPEN),
    // What machines sent, octet by octet.
    read("/api/v1/records/{}/{}/packets", OPERATOR),
    read("/api/v1/**", VIEWER),
    any("/api/v1/**", OPERATOR),
    // The admin page. What it changes it changes by the API above.
    read("/", OPEN),
    any("/ui/login", OPEN),
    any("/ui/claim", OPEN),
    read("/ui/assets/**", OPEN),
    read("/ui/audit/**", ADMIN),
    read("/ui/people/**", ADMIN),
    post("/ui/logout", VIEWER),
    read("/ui/**", VIEWER),
    // What booting machines fetch.
    read("/boot.ipxe", OPEN),
    read("/boot/script", OPEN),
    read("/loaders/**", OPEN),
    read("/images/**", OPEN),
    read("/openchami/**", OPEN),
    // Boot sessions of nodes; these check grants, keys and tokens of nodes themselves.
    read("/b/{}/boot.cpio", OPEN),
    post("/node/v1/claim", OPEN),
    post("/node/v1/attest/start", OPEN),
    post("/node/v1/attest/finish", OPEN),
    post("/node/v1/sealed", OPEN),
    read("/node/v1/keyset", OPEN),
    // Where tokens come from; these check secrets themselves.
    any("/token", OPEN),
    any("/oauth2/token", OPEN),
    any("/oauth/token", OPEN),
    read("/keys", OPEN),
    read("/.well-known/jwks.json", OPEN),
    read("/.well-known/openid-configuration", OPEN),
    read("/ca.crt", OPEN),
    read("/ca.pem", OPEN),
    read("/ca.sha256", OPEN),
    read("/site.pub", OPEN),
    // SMD.
    read("/hsm/v2/service/ready", OPEN),
    read("/hsm/v2/service/liveness", OPEN),
    read("/hsm/v2/service/values/**", OPEN),
    read("/hsm/v2/State/Components", OPEN),
    read("/hsm/v2/Inventory/EthernetInterfaces", OPEN),
    post("/hsm/v2/State/Components/Query", VIEWER),
    post("/hsm/v2/State/Components/ByNID/Query", VIEWER),
    post("/hsm/v2/locks/status", VIEWER),
    post("/hsm/v2/locks/service/reservations/check", VIEWER),
    read("/hsm/v2/**", VIEWER),
    any("/hsm/v2/**", OPERATOR),
    // BSS. A refresh and a state change notice alter nothing here.
    read("/boot/v1/bootscript", OPEN),
    any("/boot/v1/hosts", OPEN),
    read("/boot/v1/dumpstate", OPEN),
    read("/boot/v1/service/**", OPEN),
    read("/boot/v1/endpoint-history", OPEN),
    any("/boot/v1/scn", OPEN),
    read("/boot/v1/**", VIEWER),
    any("/boot/v1/**", OPERATOR),
    read("/meta-data", OPEN),
    read("/user-data", OPEN),
    post("/phone-home", OPEN),
    // PCS. Asking for the state of power is a POST too.
    read("/liveness", OPEN),
    read("/readiness", OPEN),
    read("/health", OPEN),
    read("/power-status", VIEWER),
    post("/power-status", VIEWER),
    read("/transitions/**", VIEWER),
    any("/transitions/**", OPERATOR),
    // cloud-init, both generations.
    read("/cloud-init-secure/**", VIEWER),
    any("/cloud-init-secure/**", OPERATOR),
    read("/cloud-init/admin/**", VIEWER),
    any("/cloud-init/admin/**", OPERATOR),
    post("/cloud-init/phone-home/**", OPEN),
    post("/cloud-init/wg-init", OPEN),
    read("/cloud-init/**", OPEN),
    any("/cloud-init/**", OPERATOR),
];

/// What this request needs. Of the path as it came and the path with its escapes undone the stricter counts:
/// no handler may see an open path as another one.
#[must_use]
pub fn need(method: &Method, path: &str) -> Need {
    let look_up = |path: &str| rule(method, path).map_or(ADMIN, |rule| rule.need);
    let raw = look_up(path);
    if !path.contains('%') {
        return raw;
    }
    percent_decode(path).map_or(ADMIN, |plain| raw.max(look_up(&plain)))
}

/// What in a browser's session needs a password that was given just now: what shows the value of a secret, and what
/// makes another way in, by which one could have it shown later.
const FRESH: &[Rule] = &[
    post("/api/v1/secrets/{}/reveal", ADMIN),
    post("/api/v1/tokens/**", ADMIN),
    post("/api/v1/token-clients/**", ADMIN),
    post("/api/v1/users/**", ADMIN),
    patch("/api/v1/users/**", ADMIN),
    delete("/api/v1/users/**", ADMIN),
    post("/api/v1/keys/**", ADMIN),
];

/// True if a session must have shown its password lately. Of the path as it came and without its escapes either
/// will do.
#[must_use]
pub fn needs_fresh(method: &Method, path: &str) -> bool {
    let fits = |path: &str| FRESH.iter().any(|rule| rule.fits(method, canonical(path)));
    fits(path) || percent_decode(path).is_none_or(|plain| fits(&plain))
}

/// The rule that decides; None where the table is silent.
#[must_use]
pub fn rule(method: &Method, path: &str) -> Option<&'static Rule> {
    let path = canonical(path);
    RULES.iter().find(|rule| rule.fits(method, path))
}

/// The path without the prefixes under which the same routes are served again: those of the replaced gateway,
/// and `/cloud-init` before `/cloud-init…`, which clients of the first generation make.
pub(crate) fn canonical(path: &str) -> &str {
    let below =
        |path: &'static str, whole: &str| whole.starts_with(path) && whole[path.len()..].starts_with('/');
    if below("/apis/bss", path) {
        &path["/apis/bss".len()..]
    } else if below("/apis/smd", path) {
        &path["/apis/smd".len()..]
    } else {
        let mut path = path;
        // Each turn takes a piece of the path away.
        while path.starts_with("/cloud-init/cloud-init") {
            path = &path["/cloud-init".len()..];
        }
        path
    }
}

impl Rule {
    fn fits(&self, method: &Method, path: &str) -> bool {
        let method = match self.methods {
            Methods::Read => matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS),
            Methods::Post => *method == Method::POST,
            Methods::Patch => *method == Method::PATCH,
            Methods::Delete => *method == Method::DELETE,
            Methods::Any => true,
        };
        method && fits(self.path, path)
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    // Every request passes here, and most rules differ from it in their first letter, which is no placeholder.
    if pattern.as_bytes().get(1) != path.as_bytes().get(1) {
        return false;
    }
    if let Some(stem) = pattern.strip_suffix("/**") {
        return path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    }
    let mut wanted = pattern.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("{}"), Some(segment)) if !segment.is_empty() => {}
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use crate::api::auth::table::{ADMIN, Need, OPEN, OPERATOR, RULES, VIEWER, need};

    fn check(cases: &[(Method, &str, Need)]) {
        for (method, path, wanted) in cases {
            assert_eq!(need(method, path), *wanted, "{method} {path}");
        }
    }

    #[test]
    fn the_split_of_the_replaced_services_is_kept() {
        check(&[
            (Method::GET, "/hsm/v2/State/Components", OPEN),
            (Method::HEAD, "/hsm/v2/State/Components", OPEN),
            (Method::GET, "/apis/smd/hsm/v2/State/Components", OPEN),
            (Method::GET, "/hsm/v2/State/Components/x0c0s0b0n0", VIEWER),
            (Method::POST, "/hsm/v2/State/Components", OPERATOR),
            (Method::DELETE, "/hsm/v2/State/Components", OPERATOR),
            (Method::POST, "/hsm/v2/State/Components/Query", VIEWER),
            (Method::GET, "/hsm/v2/service/values/arch", OPEN),
            (Method::GET, "/hsm/v2/Inventory/EthernetInterfaces", OPEN),
            (Method::GET, "/hsm/v2/Inventory/EthernetInterfaces/a", VIEWER),
            (Method::GET, "/hsm/v2/groups", VIEWER),
            (Method::GET, "/boot/v1/bootparameters", VIEWER),
            (Method::PUT, "/apis/bss/boot/v1/bootparameters", OPERATOR),
            (Method::GET, "/apis/bss/boot/v1/bootscript", OPEN),
            (Method::POST, "/boot/v1/hosts", OPEN),
            (Method::POST, "/boot/v1/scn", OPEN),
            (Method::GET, "/boot/v1/service/status/all", OPEN),
            (Method::GET, "/meta-data", OPEN),
            (Method::POST, "/phone-home", OPEN),
            (Method::GET, "/cloud-init", OPEN),
            (Method::GET, "/cloud-init/compute.yaml", OPEN),
            (Method::POST, "/cloud-init", OPERATOR),
            (Method::PUT, "/cloud-init/compute", OPERATOR),
            (Method::POST, "/cloud-init/phone-home/x0c0s0b0n0", OPEN),
            (Method::POST, "/cloud-init/wg-init", OPEN),
            (Method::GET, "/cloud-init/admin/groups", VIEWER),
            (Method::POST, "/cloud-init/admin/groups", OPERATOR),
            (Method::GET, "/cloud-init-secure", VIEWER),
            (Method::GET, "/cloud-init-secure/user-data", VIEWER),
            (Method::POST, "/power-status", VIEWER),
            (Method::POST, "/transitions", OPERATOR),
        ]);
    }

    /// Three generations of the real client, recorded: what they ask without a token, and what with one.
    #[test]
    fn real_clients_are_let_in_where_they_send_no_token() {
        for path in [
            "/boot/v1/bootscript",
            "/boot/v1/dumpstate",
            "/boot/v1/endpoint-history",
            "/boot/v1/hosts",
            "/boot/v1/service/status",
            "/boot/v1/service/status/all",
            "/cloud-init",
            "/cloud-init/compute",
            "/cloud-init/compute/user-data",
            "/cloud-init/version",
            "/cloud-init/x1000c1s7b0n0/meta-data",
            "/cloud-init/x1000c1s7b0n0/vendor-data",
            "/hsm/v2/Inventory/EthernetInterfaces",
            "/hsm/v2/State/Components",
            "/hsm/v2/service/ready",
            "/hsm/v2/service/values",
            "/liveness",
            "/readiness",
        ] {
            assert_eq!(need(&Method::GET, path), OPEN, "{path}");
        }
        check(&[
            (Method::GET, "/cloud-init/admin/impersonation/x1000c0s0b0n0/compute.yaml", VIEWER),
            (Method::GET, "/cloud-init-secure/compute/user-data", VIEWER),
            (Method::GET, "/hsm/v2/Inventory/ComponentEndpoints", VIEWER),
            (Method::PATCH, "/hsm/v2/State/Components/BulkNID", OPERATOR),
            (Method::DELETE, "/boot/v1/bootparameters", OPERATOR),
            (Method::PUT, "/cloud-init/admin/instance-info/x1000c0s0b0n0", OPERATOR),
            (Method::POST, "/cloud-init-secure", OPERATOR),
            (Method::POST, "/transitions", OPERATOR),
        ]);
    }

    #[test]
    fn what_the_table_does_not_know_is_closed() {
        check(&[
            (Method::PUT, "/", ADMIN),
            (Method::POST, "/ui/nodes", ADMIN),
            (Method::GET, "/unknown", ADMIN),
            (Method::GET, "/hsm", ADMIN),
            (Method::GET, "/hsm/v20/State/Components", ADMIN),
            (Method::GET, "/imagesque/x", ADMIN),
            (Method::PUT, "/images/x", ADMIN),
            (Method::POST, "/boot/script", ADMIN),
            (Method::GET, "/apis/bss", ADMIN),
            (Method::GET, "/apis/bss/apis/smd/hsm/v2/State/Components", ADMIN),
            (Method::from_bytes(b"PURGE").unwrap(), "/hsm/v2/groups", OPERATOR),
        ]);
    }

    #[test]
    fn tokens_and_values_of_secrets_are_for_administrators() {
        check(&[
            (Method::GET, "/api/v1/tokens", ADMIN),
            (Method::POST, "/api/v1/tokens", ADMIN),
            (Method::DELETE, "/api/v1/token-clients/a", ADMIN),
            (Method::GET, "/api/v1/secrets/munge", VIEWER),
            (Method::PUT, "/api/v1/secrets/munge", ADMIN),
            (Method::POST, "/api/v1/secrets/munge/reveal", ADMIN),
            (Method::GET, "/api/v1/trust/tpms", VIEWER),
            (Method::POST, "/api/v1/trust/tpms/approve", OPERATOR),
            (Method::POST, "/api/v1/trust/tpms/preload", OPERATOR),
            (Method::POST, "/api/v1/trust/tpms/nid001/revoke", OPERATOR),
            (Method::PUT, "/api/v1/trust/windows/rack1", OPERATOR),
            (Method::POST, "/api/v1/trust/tpms/nid001/anew", ADMIN),
            (Method::POST, "/api/v1/trust/tpms/nid001/unpin", ADMIN),
            (Method::GET, "/api/v1/nodes", VIEWER),
            (Method::PATCH, "/api/v1/nodes", OPERATOR),
        ]);
    }

    #[test]
    fn no_other_spelling_opens_a_closed_path() {
        for path in [
            "/cloud-init/%61dmin/groups",
            "/cloud-init/admin%2fgroups",
            "/cloud-init/cloud-init/admin/groups",
            "/cloud-init/cloud-init-secure/user-data",
            "/cloud-init/cloud-init/cloud-init-secure/user-data",
            "/cloud-init/cloud-init/cloud-init/admin/groups",
            "/cloud-init/cloud-init%2dsecure/user-data",
            "/cloud-init%2dsecure/user-data",
            "/cloud-init/%ff",
            "/apis/bss/cloud-init/admin/groups",
            "/hsm/v2/State/Components/",
            "/hsm/v2/State/Components%2fx0c0s0b0n0",
        ] {
            assert_ne!(need(&Method::GET, path), OPEN, "{path}");
        }
        assert_eq!(need(&Method::GET, "/images/a%20b"), OPEN);
    }

    #[test]
    fn no_rule_hides_behind_an_earlier_one() {
        for (index, rule) in RULES.iter().enumerate() {
            let path = rule.path.replace("/**", "/x").replace("{}", "x");
            let method = match rule.methods {
                crate::api::auth::table::Methods::Read => Method::GET,
                crate::api::auth::table::Methods::Post => Method::POST,
                crate::api::auth::table::Methods::Patch => Method::PATCH,
                crate::api::auth::table::Methods::Delete => Method::DELETE,
                crate::api::auth::table::Methods::Any => Method::PUT,
            };
            let first = RULES.iter().position(|rule| rule.fits(&method, &path));
            assert_eq!(first, Some(index), "{} is never reached", rule.path);
        }
    }
}
