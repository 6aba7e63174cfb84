#![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::base::Digest;
use crate::engine::attest::authenticode::digest;
use crate::wire::WireError;

const PE: usize = 0x80;
const OPTIONAL: usize = PE + 24;
const HEADERS: usize = 0x200;

/// A PE32+ file with two sections, stored in the order that is not the table's, and something behind them.
fn file(certificates: &[u8]) -> Vec<u8> {
    let mut file = vec![0xaa; HEADERS];
    let mut put = |at: usize, octets: &[u8]| file[at..at + octets.len()].copy_from_slice(octets);
    put(0x3c, &u32::try_from(PE).unwrap().to_le_bytes());
    put(PE, b"PE\0\0");
    put(PE + 6, &2_u16.to_le_bytes());
    put(PE + 20, &240_u16.to_le_bytes());
    put(OPTIONAL, &0x20b_u16.to_le_bytes());
    put(OPTIONAL + 60, &u32::try_from(HEADERS).unwrap().to_le_bytes());
    put(OPTIONAL + 108, &16_u32.to_le_bytes());
    put(OPTIONAL + 112 + 32, &[0x90, 3, 0, 0]);
    put(OPTIONAL + 112 + 36, &u32::try_from(certificates.len()).unwrap().to_le_bytes());
    for (index, (start, size)) in [(0x300_u32, 0x80_u32), (0x200, 0x100)].into_iter().enumerate() {
        let section = OPTIONAL + 240 + 40 * index;
        put(section + 16, &size.to_le_bytes());
        put(section + 20, &start.to_le_bytes());
    }
    file.extend([0xbb; 0x100]);
    file.extend([0xcc; 0x80]);
    file.extend([0xdd; 0x10]);
    file.extend(certificates);
    file
}

/// By the definition, with the places written out.
fn by_hand(file: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&file[..OPTIONAL + 64]);
    hash.update(&file[OPTIONAL + 68..OPTIONAL + 112 + 32]);
    hash.update(&file[OPTIONAL + 112 + 40..0x390]);
    Digest(hash.finalize().into())
}

#[test]
fn the_digest_leaves_out_what_signing_changes_and_nothing_else() {
    let bare = file(&[]);
    let whole = digest(&bare).unwrap();
    assert_eq!(whole, by_hand(&bare));
    let signed = file(&[7; 0x40]);
    assert_eq!(digest(&signed).unwrap(), whole, "the certificates do not count");
    let mut summed = bare.clone();
    summed[OPTIONAL + 64] ^= 1;
    assert_eq!(digest(&summed).unwrap(), whole, "the checksum does not count");
    for at in [2, PE + 4, OPTIONAL + 63, OPTIONAL + 68, OPTIONAL + 152, 0x1ff, 0x200, 0x37f, 0x38f] {
        let mut altered = bare.clone();
        altered[at] ^= 1;
        assert_ne!(digest(&altered).ok(), Some(whole), "octet {at:#x}");
    }
}

#[test]
fn files_whose_parts_do_not_follow_one_another_are_refused() {
    let mut gap = file(&[]);
    gap[OPTIONAL + 240 + 20] = 0x10; // the second section begins later
    assert!(matches!(digest(&gap), Err(WireError::Invalid(_))));
    let mut greedy = file(&[]);
    greedy[OPTIONAL + 112 + 36..][..4].copy_from_slice(&0x1000_u32.to_le_bytes());
    assert_eq!(digest(&greedy), Err(WireError::Invalid("size of the certificate table")));
    for length in 0..0x380 {
        assert!(digest(&file(&[])[..length]).is_err(), "cut at {length}");
    }
    assert!(digest(b"#!/bin/sh").is_err());
}

proptest! {
    #[test]
    fn any_octets_get_a_verdict(at in 0_usize..0x400, octet: u8, octets: Vec<u8>) {
        let mut altered = file(&[7; 0x40]);
        if let Some(place) = altered.get_mut(at) {
            *place = octet;
        }
        let _ = digest(&altered);
        let _ = digest(&octets);
    }
}
