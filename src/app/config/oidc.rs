//! The keys of `[auth.oidc]`: where else people may log in, and which of their groups have which role.

use std::path::PathBuf;

use crate::app::config::{Oidc, Text};
use crate::app::config_file::{At, Problems, Section};
use crate::engine::token::oidc::Roles;

/// `[auth.oidc]`; none if it is not there.
pub(crate) fn oidc(parent: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Option<Oidc> {
    let mut section = parent.section("oidc", problems);
    if section.line == 0 {
        return None;
    }
    let line = section.line;
    let mut text = |key: &'static str, problems: &mut Problems<'_>| section.parsed::<Text>(key, problems);
    let issuer = text("issuer", problems);
    let client = text("client_id", problems).map(|at| at.value.0);
    let secret = text("client_secret", problems).map(|at| PathBuf::from(at.value.0));
    let user_claim =
        text("user_claim", problems).map_or_else(|| "preferred_username".to_owned(), |at| at.value.0);
    let groups_claim = text("groups_claim", problems).map_or_else(|| "groups".to_owned(), |at| at.value.0);
    let mut list = |key: &'static str, problems: &mut Problems<'_>| -> Option<Vec<String>> {
        let texts = section.list::<Text>(key, problems)?;
        Some(texts.into_iter().map(|at| at.value.0).collect())
    };
    let scopes = list("scopes", problems).unwrap_or_else(|| vec!["profile".to_owned()]);
    let mut groups = |key, problems: &mut Problems<'_>| list(key, problems).unwrap_or_default();
    let roles = Roles {
        viewers: groups("viewers", problems),
        operators: groups("operators", problems),
        admins: groups("admins", problems),
    };
    section.finish(problems);
    if roles == Roles::default() {
        let text = "no group has a role: nobody could log in; set viewers, operators or admins";
        problems.add(line, "auth.oidc", text);
    }
    if client.is_none() {
        problems.add(line, "auth.oidc.client_id", "is missing: the head's name at the provider");
    }
    let issuer = checked(issuer, line, problems);
    Some(Oidc { issuer: issuer?, client: client?, secret, scopes, user_claim, groups_claim, roles })
}

/// An issuer is an `https` address without a query (OpenID Connect Discovery 1.0 section 3). In the clear somebody on
/// the way could be the provider; on the loopback nobody is on the way.
fn checked(issuer: Option<At<Text>>, line: usize, problems: &mut Problems<'_>) -> Option<String> {
    let Some(At { value: Text(issuer), line }) = issuer else {
        problems.add(line, "auth.oidc.issuer", "is missing: the address by which the provider names itself");
        return None;
    };
    let url = reqwest::Url::parse(&issuer).ok();
    let is_local = |url: &reqwest::Url| {
        url.scheme() == "http" && matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"))
    };
    let good = |url: &reqwest::Url| {
        (url.scheme() == "https" || is_local(url)) && url.query().is_none() && url.fragment().is_none()
    };
    if !url.as_ref().is_some_and(good) {
        let text = format!("{issuer:?} is no https address without a query");
        problems.add(line, "auth.oidc.issuer", text);
        return None;
    }
    Some(issuer)
}

#[cfg(test)]
mod tests {
    use crate::app::config::Config;
    use crate::engine::token::oidc::Roles;

    fn problems(text: &str) -> String {
        let problems = Config::parse(text).unwrap_err();
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn a_provider_has_defaults_and_no_role_for_nobody() {
        let text = "[auth.oidc]\nissuer = \"https://idp.example/hpc\"\nclient_id = \"muster\"\n\
                    client_secret = \"/etc/muster/oidc\"\nadmins = [\"hpc\"]\nviewers = [\"staff\", \"guests\"]\n";
        let oidc = Config::parse(text).unwrap().tokens.oidc.unwrap();
        assert_eq!((oidc.issuer.as_str(), oidc.client.as_str()), ("https://idp.example/hpc", "muster"));
        assert_eq!((oidc.user_claim.as_str(), oidc.groups_claim.as_str()), ("preferred_username", "groups"));
        assert_eq!(
            (oidc.scopes, oidc.secret.unwrap().to_str()),
            (vec!["profile".to_owned()], Some("/etc/muster/oidc"))
        );
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let wanted =
            Roles { viewers: list(&["staff", "guests"]), operators: Vec::new(), admins: list(&["hpc"]) };
        assert_eq!(oidc.roles, wanted);
        assert_eq!(Config::parse("").unwrap().tokens.oidc, None);
    }

    #[test]
    fn what_cannot_be_is_told_with_its_key() {
        let of = |issuer: &str| {
            problems(&format!("[auth.oidc]\nissuer = \"{issuer}\"\nclient_id = \"m\"\nadmins = [\"a\"]\n"))
        };
        for bad in ["http://idp.example", "idp.example", "https://idp.example?x=1", "ftp://idp.example"] {
            assert!(of(bad).contains("line 2: auth.oidc.issuer"), "{}", of(bad));
        }
        let text = problems("[auth.oidc]\nscope = 1\n");
        for part in ["auth.oidc.issuer", "auth.oidc.client_id", "no group has a role", "auth.oidc.scope"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
