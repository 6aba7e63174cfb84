//! The real daemon: what it acknowledged survives its death, and it notifies by itself. It starts without any
//! certificates on the system, as in a bare image.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::smd_rest::A;
use crate::smd_rest::subscriptions::{next, receiver};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A daemon without networks; killed at the end.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(folder: &Path) -> Daemon {
    let config = folder.join("muster.toml");
    let text = "[http]\nlisten = []\n[tftp]\nlisten = []\n[dns]\nlisten = []\n\
                [egress]\nallow = [\"127.0.0.1/32\"]\n[log]\nlevel = \"warn\"\n";
    fs::write(&config, text).unwrap();
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(&config).arg("--data-dir").arg(folder).arg("serve");
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    let daemon = Daemon(command.spawn().unwrap());
    for _ in 0..500 {
        if UnixStream::connect(folder.join("muster.sock")).is_ok() {
            return daemon;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the daemon does not answer");
}

/// Asks over the Unix socket; the answer must be a success.
async fn ask(folder: &Path, method: &str, path: &str, body: Value) -> Value {
    let (socket, body) = (folder.join("muster.sock"), body.to_string());
    let request = format!(
        "{method} /hsm/v2{path} HTTP/1.1\r\nHost: head\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = tokio::task::spawn_blocking(exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
    serde_json::from_str(body).unwrap_or(Value::Null)
}

#[tokio::test]
async fn reservations_and_subscriptions_survive_the_death_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (url, mut inbox) = receiver(&[]).await;
    let daemon = start(folder).await;
    assert_eq!(ask(folder, "GET", "/service/ready", json!(null)).await["message"], "HSM is healthy");
    ask(folder, "POST", "/State/Components", json!({"Components": [{"ID": A, "State": "Off"}]})).await;
    let wish = json!({"ComponentIDs": [A], "ReservationDuration": 15});
    let made = ask(folder, "POST", "/locks/service/reservations", wish).await;
    let subscription = json!({"Subscriber": "test", "Url": url, "States": ["On"]});
    ask(folder, "POST", "/Subscriptions/SCN", subscription).await;
    drop(daemon); // SIGKILL

    let _daemon = start(folder).await;
    let keys = json!({"DeputyKeys": [{"ID": A, "Key": made["Success"][0]["DeputyKey"]}]});
    let checked = ask(folder, "POST", "/locks/service/reservations/check", keys).await;
    assert_eq!(checked["Success"][0]["ExpirationTime"], made["Success"][0]["ExpirationTime"]);
    ask(folder, "PATCH", &format!("/State/Components/{A}/StateData"), json!({"State": "On"})).await;
    assert_eq!(next(&mut inbox).await, json!({"Components": [A], "State": "On", "Flag": "OK"}));
}
