//! The vectors of `tests/fixtures/tpm`, for the tests of this room and of the engine, which read no files.

macro_rules! table {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../tests/fixtures/tpm/", $name)))),*]
    };
}

const ALL: &[(&str, &[u8])] = table![
    "ak_primary_noda_p256.name",
    "ak_primary_noda_p256.pem",
    "ak_primary_noda_p256.tpm2b",
    "cred_ecc_p256.blob",
    "cred_ecc_p256.json",
    "cred_ecc_p256_edge_ex.blob",
    "cred_ecc_p256_edge_ex.json",
    "cred_ecc_p256_edge_ey.blob",
    "cred_ecc_p256_edge_ey.json",
    "cred_ecc_p256_edge_z.blob",
    "cred_ecc_p256_edge_z.json",
    "cred_ecc_p384.blob",
    "cred_ecc_p384.json",
    "cred_rsa2048.blob",
    "cred_rsa2048.json",
    "ek_ecc_p256.tpm2b",
    "ek_ecc_p384.tpm2b",
    "ek_rsa2048.tpm2b",
    "ekcert/ek_ecc_p384.der",
    "ekcert/ek_rsa2048.der",
    "ekcert/issuercert.pem",
    "ekcert/swtpm-localca-rootca-cert.pem",
    "eventlog/a.binary_bios_measurements",
    "eventlog/a.json",
    "eventlog/f.binary_bios_measurements",
    "eventlog/f.json",
    "eventlog/h.binary_bios_measurements",
    "eventlog/h.json",
    "neg/ak_null_hierarchy_unrestricted.tpm2b",
    "neg/ak_openssl_software_key.tpm2b",
    "neg/enc_identity_bit.blob",
    "neg/magic.blob",
    "neg/outer_hmac_bit.blob",
    "neg/rsa_ciphertext_bit.blob",
    "neg/truncated.blob",
    "neg/version2.blob",
    "neg/wrong_ak_name.blob",
    "quote/bad_magic.attest",
    "quote/fewer_pcrs.attest",
    "quote/fewer_pcrs.sig_plain.der",
    "quote/forged.sig_plain.der",
    "quote/good.attest",
    "quote/good.sig_plain.der",
    "quote/good_tss.attest",
    "quote/good_tss.sig",
    "quote/latched.attest",
    "quote/latched.sig_plain.der",
    "quote/next_boot.attest",
    "quote/next_boot.sig_plain.der",
    "quote/nonce.bin",
    "quote/stale_nonce.attest",
    "quote/stale_nonce.sig_plain.der",
    "quote/unrestricted_key.pem",
    "quote/unrestricted_key.tpm2b",
    "ref_tpm2tools_ecc_p256.blob",
    "ref_tpm2tools_ecc_p384.blob",
    "ref_tpm2tools_rsa2048.blob",
    "secret.bin",
];

pub(crate) fn vector(name: &str) -> Vec<u8> {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("there is no vector {name}")).1.to_vec()
}
