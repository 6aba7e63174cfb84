//! Areas of the APIs, to which a token can be limited: what stands first in a path of ours, and the replaced
//! services by their names.

use crate::api::auth::table::canonical;
use crate::api::openapi::OPERATIONS;
use crate::api::v1;
use crate::engine::image::path::percent_decode;

/// Areas beside the operations of our own API.
const OTHERS: [&str; 7] =
    ["hsm", "boot-v1", "cloud-init-v1", "cloud-init-secure", "transitions", "power-status", "whoami"];

/// True for the name of an area.
pub(crate) fn is_area(name: &str) -> bool {
    OTHERS.contains(&name) || OPERATIONS.iter().any(|operation| operation.tag() == name)
}

/// Every name of an area, for those who mistype one.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = OPERATIONS.iter().map(|operation| operation.tag()).chain(OTHERS).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// True if a token with these areas reaches the path. Both the path as it came and the path with its escapes
/// undone must lie within: no handler may see another one.
pub(crate) fn reach(areas: &[String], path: &str) -> bool {
    let within = |path: &str| area(path).is_some_and(|area| areas.iter().any(|known| known == area));
    areas.is_empty() || within(path) && percent_decode(path).is_some_and(|plain| within(&plain))
}

fn area(path: &str) -> Option<&str> {
    let path = canonical(path);
    let own = path.strip_prefix(v1::PREFIX).and_then(|rest| rest.strip_prefix('/'));
    let first = |path: &'_ str| path.split('/').next().map(str::len);
    if let Some(rest) = own {
        // `openapi.json` is of no area, and open to all.
        return rest.get(..first(rest)?).filter(|area| !area.is_empty());
    }
    let rest = path.strip_prefix('/')?;
    match rest.get(..first(rest)?)? {
        // These two are names of areas of our own API as well.
        "boot" => Some("boot-v1"),
        "cloud-init" => Some("cloud-init-v1"),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use crate::api::auth::areas::{is_area, names, reach};

    #[test]
    fn a_limited_token_reaches_its_areas_and_nothing_else() {
        let check = |areas: &[&str], path: &str| {
            assert!(areas.iter().all(|area| is_area(area)), "{areas:?}");
            reach(&areas.iter().map(|area| (*area).to_owned()).collect::<Vec<_>>(), path)
        };
        assert!(check(&[], "/api/v1/tokens"));
        assert!(check(&["images", "uploads"], "/api/v1/images/a"));
        assert!(check(&["images", "uploads"], "/api/v1/uploads"));
        assert!(check(&["hsm"], "/apis/smd/hsm/v2/groups"));
        assert!(check(&["boot-v1"], "/boot/v1/bootparameters") && check(&["boot"], "/api/v1/boot"));
        for path in [
            "/api/v1/nodes",
            "/api/v1/imagesque",
            "/api/v1",
            "/api/v1/",
            "/hsm/v2/groups",
            "/images/a",
            "/api/v1/images%2f..%2fnodes/%ff",
            "/api/v1/%6eodes",
            "/api/v1/tokens",
        ] {
            assert_eq!(check(&["images"], path), path == "/images/a", "{path}");
        }
        assert!(!check(&["boot"], "/boot/v1/bootparameters") && !check(&["boot-v1"], "/api/v1/boot"));
        assert!(names().len() > 15 && !is_area("nodez"));
    }
}
