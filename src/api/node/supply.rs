//! What nodes get out of the vault: secrets as files on a node, opened at the last moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::Level;
use crate::engine::cloud_init::View;
use crate::engine::trust::choose::{host_names, secrets_of};
use crate::engine::trust::contents::{Choice, Item, Withheld};
use crate::engine::trust::{Secrets, choose};
use crate::model::secret::{Secret, What};
use crate::model::{Node, Snapshot};
use crate::transport::clock::now;
use crate::transport::vault::ssh::HostKeys;
use crate::transport::vault::{Chest, SshAuthority, VaultError};

/// Permissions of a file of environment variables.
const ENV_MODE: u32 = 0o600;

/// The secrets of the inventory, opened by the vault.
pub struct FromVault {
    pub chest: Arc<Chest>,
    pub ssh: Arc<SshAuthority>,
}

impl Secrets for FromVault {
    fn wants(&self, snapshot: &Snapshot, node: &Node) -> bool {
        let (given, withheld) = secrets_of(&snapshot.inventory, node, Level::Address);
        let beyond =
            withheld.iter().map(|(secret, _)| secret).any(|secret| secret.min_level > Level::Address);
        if beyond || !given.is_empty() {
            return true;
        }
        // Documents whose policy asks for more than an address can be read with a session's token alone.
        let view = View::new(snapshot, node);
        view.secure_file().is_some() || !view.secure_groups().is_empty()
    }

    fn choose(&self, snapshot: &Snapshot, node: &Node, level: Level) -> Choice {
        let (given, withheld) = secrets_of(&snapshot.inventory, node, level);
        let mut choice = Choice::default();
        let mut variables: BTreeMap<&str, Item> = BTreeMap::new();
        for secret in given {
            if let Err(error) = self.add(snapshot, node, secret, &mut choice, &mut variables) {
                tracing::error!(secret = secret.key.row(), node = %node.name, %error, "a secret cannot be opened");
                let reason = "the head cannot open it; see its log".to_owned();
                choice.withheld.push(Withheld {
                    id: secret.key.name.to_string(),
                    needs: secret.min_level,
                    reason,
                });
            }
        }
        choice.items.extend(variables.into_values());
        choice.withheld.extend(withheld.into_iter().map(|(secret, why)| not_given(secret, why)));
        choice.after.sort_unstable();
        choice.after.dedup();
        choice
    }

    fn values(&self, snapshot: &Snapshot, node: &Node, level: Level) -> Option<Vec<(String, u64)>> {
        let (given, _) = secrets_of(&snapshot.inventory, node, level);
        let value = |secret: &Secret| Some((secret.key.row(), secret.current()?.number));
        Some(given.into_iter().filter_map(value).collect())
    }
}

fn not_given(secret: &Secret, why: choose::Withheld) -> Withheld {
    Withheld { id: secret.key.name.to_string(), needs: secret.min_level, reason: why.to_string() }
}

impl FromVault {
    fn add<'a>(
        &self,
        snapshot: &Snapshot,
        node: &Node,
        secret: &'a Secret,
        choice: &mut Choice,
        variables: &mut BTreeMap<&'a str, Item>,
    ) -> Result<(), VaultError> {
        // `secrets_of` gives only what has a version.
        let Some(version) = secret.current().map(|version| version.number) else { return Ok(()) };
        let value = self.chest.open_secret(secret, version)?;
        let item = |path: Option<String>, mode, owner: String, data| Item {
            id: secret.key.name.to_string(),
            version,
            path,
            mode,
            owner,
            credential: None,
            data,
        };
        let root = || "root:root".to_owned();
        match &secret.what {
            What::File(_) | What::MungeKey => {
                let Some(target) = secret.what.target() else { return Ok(()) };
                let owner = format!("{}:{}", target.owner, target.group);
                choice.items.push(item(Some(target.path), target.mode.into(), owner, value));
                if secret.what == What::MungeKey {
                    choice.after.push("munge.service".to_owned());
                }
            }
            What::Env { file, name } => {
                let whole = variables
                    .entry(file)
                    .or_insert_with(|| item(Some(file.clone()), ENV_MODE, root(), Zeroizing::default()));
                // All variables of a file are one item; made anew, so that growing leaves no copy behind.
                let parts = [whole.data.as_slice(), name.as_bytes(), b"=", &value, b"\n"];
                whole.data = Zeroizing::new(parts.concat());
                whole.version = whole.version.max(version);
            }
            What::SshHostKey => {
                let names = host_names(&snapshot.site, node);
                let keys = HostKeys::read(&value)?;
                for file in self.ssh.host_files(&keys, node.name.as_str(), &names, now())? {
                    let data = Zeroizing::new(file.content.as_bytes().to_vec());
                    choice.items.push(item(
                        Some(format!("/etc/ssh/{}", file.name)),
                        file.mode.into(),
                        root(),
                        data,
                    ));
                }
            }
            What::Opaque => choice.items.push(item(None, 0o400, root(), value)),
        }
        Ok(())
    }
}
