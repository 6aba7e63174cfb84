//! How a registry lets us in: options first, else what `docker login` and `podman login` left behind. Programs that
//! keep logins elsewhere (`credsStore`) are not run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::base::limits::REQUEST_BYTES_MAX;
use crate::cli::image::source::Options;

/// Docker's own registry has a name of its own in these files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Default, Deserialize)]
struct Logins {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Default, Deserialize)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// The login for a registry; anonymous if there is none.
///
/// # Errors
/// Half a login in the options, files that are no JSON. Never with what stands in them.
pub(crate) fn find(registry: &str, options: &Options) -> anyhow::Result<RegistryAuth> {
    if let Some(username) = &options.username {
        let password = options.password()?.context("--username wants --password-stdin")?;
        return Ok(RegistryAuth::Basic(username.clone(), password));
    }
    if let Some(path) = &options.logins {
        ensure!(path.is_file(), "cannot read {}", path.display());
    }
    for path in options.logins.clone().map_or_else(places, |path| vec![path]) {
        if let Some(auth) = read(&path, registry)? {
            return Ok(auth);
        }
    }
    Ok(RegistryAuth::Anonymous)
}

/// Where logins lie, the most explicit first.
fn places() -> Vec<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    [
        folder("REGISTRY_AUTH_FILE"),
        folder("DOCKER_CONFIG").map(|folder| folder.join("config.json")),
        folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        folder("HOME").map(|folder| folder.join(".docker/config.json")),
        folder("HOME").map(|folder| folder.join(".config/containers/auth.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn read(path: &Path, registry: &str) -> anyhow::Result<Option<RegistryAuth>> {
    let Ok(text) = std::fs::read(path) else { return Ok(None) };
    ensure!(text.len() <= REQUEST_BYTES_MAX, "{} is too large for a file of logins", path.display());
    // The parser's own words might show what stands there.
    let logins: Logins = serde_json::from_slice(&text)
        .map_err(|_| anyhow::anyhow!("{} is no file of logins", path.display()))?;
    let names = [registry, &format!("https://{registry}"), &format!("http://{registry}")].map(str::to_owned);
    let hub = (registry == "index.docker.io").then(|| DOCKER_HUB.to_owned());
    let login = names.into_iter().chain(hub).find_map(|name| logins.auths.get(&name));
    let Some(login) = login else { return Ok(None) };
    if let (Some(username), Some(password)) = (&login.username, &login.password) {
        return Ok(Some(RegistryAuth::Basic(username.clone(), password.clone())));
    }
    // An empty entry says that a program keeps the login.
    let Some(auth) = login.auth.as_deref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
    let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (username, password) =
        pair.with_context(|| format!("{}: the login for {registry} is damaged", path.display()))?;
    Ok(Some(RegistryAuth::Basic(username.to_owned(), password.to_owned())))
}

#[cfg(test)]
mod tests {
    use oci_client::secrets::RegistryAuth;

    use crate::cli::image::source::login::read;

    #[test]
    fn logins_of_docker_and_podman_are_found_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let basic = |user: &str| Some(RegistryAuth::Basic(user.to_owned(), "pass:word".to_owned()));
        assert!(read(&path, "r.example:5000").unwrap().is_none());
        let text = r#"{"auths": {"r.example:5000": {"auth": "dXNlcjpwYXNzOndvcmQ="}, "kept.example": {},
            "https://index.docker.io/v1/": {"username": "hub", "password": "pass:word"},
            "broken.example": {"auth": "c2VjcmV0"}}, "credsStore": "desktop"}"#;
        std::fs::write(&path, text).unwrap();
        assert!(read(&path, "r.example:5000").unwrap() == basic("user"));
        assert!(read(&path, "index.docker.io").unwrap() == basic("hub"));
        assert!(read(&path, "kept.example").unwrap().is_none());
        assert!(read(&path, "other.example").unwrap().is_none());
        let said = format!("{:#}", read(&path, "broken.example").unwrap_err());
        assert!(said.contains("broken.example is damaged") && !said.contains("secret"), "{said}");
        std::fs::write(&path, r#"{"auths": {"r.example": {"auth": ["sesame"]}}}"#).unwrap();
        assert!(!format!("{:#}", read(&path, "r.example").unwrap_err()).contains("sesame"));
    }
}
