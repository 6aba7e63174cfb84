//! Every operation of the API, in the order of the document.

/// One operation of the API.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub method: &'static str,
    /// Below the API's prefix.
    pub path: &'static str,
    pub summary: &'static str,
    /// Query fields with their meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// Schema of the request's body.
    pub body: Option<&'static str>,
    /// Schema of the answer; none: 204 without a body.
    pub answer: Option<&'static str>,
}

const SET: (&str, &str) = ("set", "Node set: nid[001-009,012], @group, *, joined by , ! &");
const ONCE: (&str, &str) = ("once", "Only the one-shot");
const DRY_RUN: (&str, &str) = ("dry_run", "Change nothing; answer what would change");
const LIMIT: (&str, &str) = ("limit", "At most so many");
const AFTER: (&str, &str) = ("after", "Those behind the one with this key, the last of the page before");
const NETWORK: (&str, &str) = ("network", "Only on this network");

const FROM: (&str, &str) = ("from", "The version to compare with: NAME:TAG, NAME@VERSION or first digits");
const TO: (&str, &str) = ("to", "The other version");
const NEWEST: (&str, &str) = ("newest", "How many of the newest versions of each image stay in any case");

/// What lists of one kind take.
const PAGE: &[(&str, &str)] = &[AFTER, LIMIT];
const OF_IMAGE: &[(&str, &str)] = &[("name", "Only of this image"), AFTER, LIMIT];
const OF_SECRET: &[(&str, &str)] = &[("name", "Only of this name"), AFTER, LIMIT];
const OF_RECORDS: &[(&str, &str)] = &[
    SET,
    ("outcome", "Only with this outcome: under way, waits, up, settled, left, dropped or failed"),
    AFTER,
    LIMIT,
];
const REVEAL: &[(&str, &str)] = &[("version", "Not the newest value but this one")];
const OF_AUDIT: &[(&str, &str)] = &[
    ("after", "Only lines behind this number, in rising order"),
    ("before", "Only lines before this number; the newest come first"),
    LIMIT,
    ("actor", "Only of this actor"),
    ("action", "Only those with this in their action"),
    ("object", "Only those with this in their object"),
    ("outcome", "Only with this outcome: done, refused or failed"),
    ("since", "Only from this time on (RFC 3339)"),
    ("until", "Only before this time (RFC 3339)"),
];
const ON_NETWORK: &[(&str, &str)] = &[NETWORK, AFTER, LIMIT];
const OF_NODES: &[(&str, &str)] = &[
    SET,
    ("group", "Only members of this group"),
    ("role", "Only of this role"),
    ("arch", "Only of this processor family"),
    ("policy", "Only with this boot policy: serve, ignore or local"),
    ("bmc", "Only behind this BMC"),
    NETWORK,
    AFTER,
    LIMIT,
];

/// Every operation, in the order of the document.
pub const OPERATIONS: &[Operation] = &[
    op("get", "/nodes", "List nodes", OF_NODES, None, Some("[Node]")),
    op("post", "/nodes", "Create a node", &[DRY_RUN], Some("Node"), Some("Node")),
    op(
        "patch",
        "/nodes",
        "Merge a patch into each node of a set, in one transaction",
        &[SET, DRY_RUN],
        Some("Node"),
        Some("Report"),
    ),
    op(
        "delete",
        "/nodes",
        "Remove the nodes of a set, in one transaction",
        &[SET, DRY_RUN],
        None,
        Some("Report"),
    ),
    op("get", "/nodes/{name}", "Show a node, by name, xname or MAC", &[], None, Some("Node")),
    op("put", "/nodes/{name}", "Create or replace a node", &[DRY_RUN], Some("Node"), Some("Node")),
    op(
        "patch",
        "/nodes/{name}",
        "Merge a patch into a node (RFC 7396); makes a new one if it brings an interface",
        &[DRY_RUN],
        Some("Node"),
        Some("Node"),
    ),
    op("delete", "/nodes/{name}", "Remove a node", &[DRY_RUN], None, None),
    op("get", "/nodes/{name}/interfaces", "List a node's interfaces", &[], None, Some("[Interface]")),
    op("get", "/nodes/{name}/interfaces/{mac}", "Show an interface", &[], None, Some("Interface")),
    op(
        "put",
        "/nodes/{name}/interfaces/{mac}",
        "Add or replace an interface",
        &[DRY_RUN],
        Some("Interface"),
        Some("Interface"),
    ),
    op("delete", "/nodes/{name}/interfaces/{mac}", "Remove an interface", &[DRY_RUN], None, None),
    op("get", "/interfaces", "List interfaces and whose they are", OF_NODES, None, Some("[Owned]")),
    op("get", "/bmcs", "List BMCs", PAGE, None, Some("[Bmc]")),
    op("get", "/bmcs/{name}", "Show a BMC", &[], None, Some("Bmc")),
    op("put", "/bmcs/{name}", "Create or replace a BMC", &[DRY_RUN], Some("Bmc"), Some("Bmc")),
    op("patch", "/bmcs/{name}", "Merge a patch into a BMC", &[DRY_RUN], Some("Bmc"), Some("Bmc")),
    op("delete", "/bmcs/{name}", "Remove a BMC that no node names", &[DRY_RUN], None, None),
    op("get", "/groups", "List groups", PAGE, None, Some("[Group]")),
    op("get", "/groups/{name}", "Show a group", &[], None, Some("Group")),
    op("put", "/groups/{name}", "Create or replace a group", &[DRY_RUN], Some("Group"), Some("Group")),
    op(
        "patch",
        "/groups/{name}",
        "Merge a patch into a group; makes it if it is new",
        &[DRY_RUN],
        Some("Group"),
        Some("Group"),
    ),
    op("delete", "/groups/{name}", "Remove a group; its members stay", &[DRY_RUN], None, None),
    op("post", "/groups/{name}/members", "Put nodes into a group", &[SET, DRY_RUN], None, Some("Group")),
    op("delete", "/groups/{name}/members", "Take nodes out of a group", &[SET, DRY_RUN], None, Some("Group")),
    op("get", "/profiles", "List profiles", PAGE, None, Some("[Profile]")),
    op("get", "/profiles/{name}", "Show a profile", &[], None, Some("Profile")),
    op(
        "put",
        "/profiles/{name}",
        "Create or replace a profile",
        &[DRY_RUN],
        Some("Profile"),
        Some("Profile"),
    ),
    op(
        "patch",
        "/profiles/{name}",
        "Merge a patch into a profile",
        &[DRY_RUN],
        Some("Profile"),
        Some("Profile"),
    ),
    op("delete", "/profiles/{name}", "Remove a profile that no assignment names", &[DRY_RUN], None, None),
    op("get", "/boot", "What nodes boot now, and the rule that decides it", OF_NODES, None, Some("[Boot]")),
    op("put", "/boot", "Assign a profile or a target", &[DRY_RUN], Some("Assign"), Some("Report")),
    op(
        "delete",
        "/boot",
        "Take assignments back",
        &[
            SET,
            ("mac", "One interface"),
            ("role", "Nodes of a role"),
            ("default", "Every node"),
            ONCE,
            DRY_RUN,
        ],
        None,
        Some("Report"),
    ),
    op("get", "/networks", "List networks and how full their pools are", PAGE, None, Some("[Network]")),
    op("get", "/networks/{name}", "Show a network", &[], None, Some("Network")),
    op(
        "get",
        "/leases",
        "List leases of pool addresses, dead ones too",
        &[NETWORK, ("state", "held, bound, released or declined"), AFTER, LIMIT],
        None,
        Some("[Lease]"),
    ),
    op("delete", "/leases/{address}", "End a lease", &[DRY_RUN], None, None),
    op(
        "get",
        "/sightings",
        "List machines that ask but were never declared",
        ON_NETWORK,
        None,
        Some("[Sighting]"),
    ),
    op("get", "/rogues", "List other DHCP servers that were heard", ON_NETWORK, None, Some("[Rogue]")),
    op("get", "/status", "How the head is", &[], None, Some("Status")),
    op(
        "get",
        "/explain",
        "What a machine would get at each stage of its boot, and why",
        &[
            ("mac", "The machine"),
            ("arch", "x86_64, arm64 …"),
            ("firmware", "bios, uefi, uefi-http, ipxe-rom, foreign-ipxe"),
            ("network", "Where it is plugged in"),
        ],
        None,
        Some("[Step]"),
    ),
    op(
        "post",
        "/inventory/import",
        "Import a document: all of it or nothing",
        &[DRY_RUN, ("prune", "Remove what it does not name")],
        Some("text"),
        Some("Report"),
    ),
    op("get", "/inventory/export", "The inventory as a document that imports back", &[], None, Some("yaml")),
    op(
        "post",
        "/batch",
        "Put, patch and delete many things in one transaction: all of it or nothing",
        &[DRY_RUN],
        Some("Batch"),
        Some("Report"),
    ),
    op(
        "get",
        "/blobs",
        "List stored content",
        &[("state", "good or corrupt"), AFTER, LIMIT],
        None,
        Some("[Blob]"),
    ),
    op("post", "/blobs/{digest}/verify", "Hold stored content against its digest", &[], None, Some("Blob")),
    op("get", "/blobs/{digest}", "Show what is known of stored content", &[], None, Some("Blob")),
    op("get", "/uploads", "List uploads", PAGE, None, Some("[Upload]")),
    op("post", "/uploads", "Begin or resume an upload", &[], Some("NewUpload"), Some("Upload")),
    op("get", "/uploads/{id}", "Show an upload and what is missing", &[], None, Some("Upload")),
    op("patch", "/uploads/{id}", "Send a range of the content", &[], Some("octets"), Some("Upload")),
    op("delete", "/uploads/{id}", "Cancel an upload", &[], None, None),
    op("post", "/uploads/{id}/complete", "Check what was sent and store it", &[], None, Some("Upload")),
    op("get", "/audit", "Who did what: lines of the audit log", OF_AUDIT, None, Some("AuditPage")),
    op("get", "/audit/checkpoints", "List its signed checkpoints", &[], None, Some("[Checkpoint]")),
    op("post", "/audit/checkpoint", "Sign it as it is now", &[], None, Some("Checkpoint")),
    op(
        "get",
        "/events",
        "What happens: a stream of server-sent events, or with `follow=0` a list",
        &[
            ("follow", "0: a list of what the head remembers"),
            ("kind", "Only this kind: boot, inventory, lease, secret, sighting; may be given several times"),
            ("node", "Only what is about this node"),
            ("after", "Behind the event with this id"),
            ("limit", "At most so many in a list"),
        ],
        None,
        Some("[Event]"),
    ),
    op("get", "/cloud-init/defaults", "Show the site's cloud-init defaults", &[], None, Some("Defaults")),
    op("put", "/cloud-init/defaults", "Replace them", &[DRY_RUN], Some("Defaults"), Some("Defaults")),
    op("patch", "/cloud-init/defaults", "Merge into them", &[DRY_RUN], Some("Defaults"), Some("Defaults")),
    op("get", "/cloud-init/groups", "List groups' cloud-init data", &[], None, Some("[GroupData]")),
    op("get", "/cloud-init/groups/{name}", "Show a group's", &[], None, Some("GroupData")),
    op(
        "put",
        "/cloud-init/groups/{name}",
        "Add or replace a group's",
        &[DRY_RUN],
        Some("GroupData"),
        Some("GroupData"),
    ),
    op(
        "patch",
        "/cloud-init/groups/{name}",
        "Merge into a group's",
        &[DRY_RUN],
        Some("GroupData"),
        Some("GroupData"),
    ),
    op("delete", "/cloud-init/groups/{name}", "Remove a group's", &[DRY_RUN], None, None),
    op("get", "/cloud-init/nodes", "List nodes' own cloud-init data", &[], None, Some("[NodeData]")),
    op("get", "/cloud-init/nodes/{name}", "Show a node's", &[], None, Some("NodeData")),
    op("put", "/cloud-init/nodes/{name}", "Replace a node's", &[DRY_RUN], Some("NodeData"), Some("NodeData")),
    op(
        "patch",
        "/cloud-init/nodes/{name}",
        "Merge into a node's",
        &[DRY_RUN],
        Some("NodeData"),
        Some("NodeData"),
    ),
    op("delete", "/cloud-init/nodes/{name}", "Remove a node's", &[DRY_RUN], None, None),
    op("post", "/cloud-init/reinstall", "Give nodes new instance-ids", &[SET, DRY_RUN], None, Some("Report")),
    op("get", "/cloud-init/render/{name}", "What a node will see, and why", &[], None, Some("Preview")),
    op("get", "/cloud-init/phone-home", "The last phone-home report of each node", &[], None, Some("[Call]")),
    op("get", "/images", "List versions of images", OF_IMAGE, None, Some("[Image]")),
    op("post", "/images", "Make a version of uploaded files", &[DRY_RUN], Some("NewImage"), Some("Image")),
    op("get", "/images/diff", "Compare two versions", &[FROM, TO], None, Some("ImageDiff")),
    op("post", "/images/gc", "Remove what nothing needs", &[NEWEST, DRY_RUN], None, Some("Garbage")),
    op("get", "/images/traffic", "Who downloads, and when it is over", &[], None, Some("[Traffic]")),
    op("get", "/images/{image}", "Show a version, by tag or digits", &[], None, Some("Image")),
    op("delete", "/images/{image}", "Remove a version that nobody names", &[DRY_RUN], None, None),
    op("get", "/image-tags", "List tags of images", OF_IMAGE, None, Some("[ImageTag]")),
    op("get", "/image-tags/{tag}", "Show a tag", &[], None, Some("ImageTag")),
    op("put", "/image-tags/{tag}", "Name a version", &[DRY_RUN], Some("MoveTag"), Some("ImageTag")),
    op("delete", "/image-tags/{tag}", "Remove a tag that nobody boots by", &[DRY_RUN], None, None),
    op(
        "post",
        "/image-tags/{tag}/rollback",
        "Back to the version that the tag named before",
        &[DRY_RUN],
        None,
        Some("ImageTag"),
    ),
    op("get", "/secrets", "List secrets, without values", OF_SECRET, None, Some("[Secret]")),
    op("get", "/secrets/{secret}", "Show a secret, without its value", &[], None, Some("Secret")),
    op(
        "put",
        "/secrets/{secret}",
        "Make a secret or replace it",
        &[DRY_RUN],
        Some("NewSecret"),
        Some("Secret"),
    ),
    op("delete", "/secrets/{secret}", "Remove a secret with all its versions", &[DRY_RUN], None, None),
    op("get", "/secrets/{secret}/versions", "Who changed it when", &[], None, Some("[SecretVersion]")),
    op(
        "post",
        "/secrets/{secret}/versions",
        "Give it a new value, or have one made",
        &[DRY_RUN],
        Some("NewVersion"),
        Some("Secret"),
    ),
    op("post", "/secrets/{secret}/reveal", "Show its value", REVEAL, None, Some("Revealed")),
    op("get", "/ssh-ca", "Public key of the authority that signs host keys", &[], None, Some("text")),
    op("get", "/trust/sessions", "List boot sessions, by node", PAGE, None, Some("[Session]")),
    op(
        "get",
        "/trust/nodes/{name}",
        "Show how far a node is trusted, and why not further",
        &[],
        None,
        Some("NodeTrust"),
    ),
    op(
        "post",
        "/trust/nodes/{name}/arm",
        "Vouch for the boot of a node that is going on, or for its next one",
        &[],
        None,
        Some("Session"),
    ),
    op("post", "/trust/nodes/{name}/revoke", "End the boot session of a node", &[], None, Some("Session")),
    op(
        "post",
        "/trust/void",
        "Make void what all nodes were given to redeem, after a restore of the whole data directory",
        &[],
        None,
        Some("Epoch"),
    ),
    op(
        "get",
        "/records",
        "List the latest boot attempt of each machine",
        OF_RECORDS,
        None,
        Some("[RecordLine]"),
    ),
    op("get", "/records/{name}", "List the boot attempts of a machine", &[], None, Some("[RecordLine]")),
    op("get", "/records/{name}/{number}", "Show a boot attempt; `latest` is one", &[], None, Some("Record")),
    op("get", "/records/{name}/{number}/packets", "Its packets, as a capture", &[], None, Some("octets")),
    op("get", "/why", "Machines whose last boot failed, by cause", &[SET], None, Some("[Cause]")),
    op("get", "/why/{name}", "Why a machine did not boot", &[], None, Some("Why")),
    op("get", "/openapi.json", "This document", &[], None, Some("any")),
];

const fn op(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<&'static str>,
    answer: Option<&'static str>,
) -> Operation {
    Operation { method, path, summary, query, body, answer }
}

impl Operation {
    /// True if it may change something.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.method != "get"
    }

    /// The kind of thing that it is about.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        let first = self.path.trim_start_matches('/').split('/').next().unwrap_or_default();
        first.split('.').next().unwrap_or_default()
    }

    /// Its name in programs: `put_nodes_name`.
    #[must_use]
    pub fn id(&self) -> String {
        let words = self.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.fold(self.method.to_owned(), |id, word| format!("{id}_{word}"))
    }
}
