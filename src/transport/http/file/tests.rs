use std::os::unix::fs::symlink;

use axum::http::{HeaderMap, Method, StatusCode, header};

use crate::transport::http::{ImageRoot, OpenError};

fn root() -> (tempfile::TempDir, ImageRoot) {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir_all(images.join("sub")).unwrap();
    std::fs::write(images.join("sub/kernel"), b"0123456789").unwrap();
    std::fs::write(images.join("empty"), b"").unwrap();
    std::fs::write(folder.path().join("secret"), b"secret").unwrap();
    symlink("../secret", images.join("escape")).unwrap();
    symlink("/etc/passwd", images.join("absolute")).unwrap();
    symlink("sub/kernel", images.join("inside")).unwrap();
    let root = ImageRoot::open(&images).unwrap();
    (folder, root)
}

#[test]
fn nothing_outside_of_the_root_can_be_named() {
    let (_folder, root) = root();
    for path in
        ["escape", "absolute", "../secret", "sub/../../secret", "/etc/passwd", "missing", "sub/kernel/x"]
    {
        assert!(matches!(root.file(path), Err(OpenError::NotFound)), "{path}");
    }
    assert!(matches!(root.file("sub"), Err(OpenError::NotAFile)));
    assert_eq!(root.file("inside").unwrap().size, 10);
}

async fn check(path: &str, method: Method, range: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let (_folder, root) = root();
    let mut headers = HeaderMap::new();
    range.map(|range| headers.insert(header::RANGE, range.parse().unwrap()));
    let response = root.file(path).unwrap().respond(&method, &headers, path).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (head.status, head.headers, body.to_vec())
}

#[tokio::test]
async fn length_and_range_are_always_told() {
    let (status, headers, body) = check("sub/kernel", Method::GET, None).await;
    assert_eq!(
        (status, &body[..], &headers[header::CONTENT_LENGTH]),
        (StatusCode::OK, &b"0123456789"[..], &"10".parse().unwrap())
    );
    let (status, headers, body) = check("sub/kernel", Method::HEAD, None).await;
    assert_eq!(
        (status, body.len(), &headers[header::CONTENT_LENGTH]),
        (StatusCode::OK, 0, &"10".parse().unwrap())
    );
    let (status, headers, body) = check("sub/kernel", Method::GET, Some("bytes=7-")).await;
    assert_eq!((status, &body[..]), (StatusCode::PARTIAL_CONTENT, &b"789"[..]));
    assert_eq!(headers[header::CONTENT_RANGE], "bytes 7-9/10");
    let (status, headers, _) = check("sub/kernel", Method::GET, Some("bytes=10-")).await;
    assert_eq!(
        (status, &headers[header::CONTENT_RANGE]),
        (StatusCode::RANGE_NOT_SATISFIABLE, &"bytes */10".parse().unwrap())
    );
    let (status, headers, body) = check("empty", Method::GET, None).await;
    assert_eq!(
        (status, body.len(), &headers[header::CONTENT_LENGTH]),
        (StatusCode::OK, 0, &"0".parse().unwrap())
    );
}
