use std::sync::Arc;

use crate::base::Mac;
use crate::engine::boot::script::{Reach, kernel_line, render};
use crate::engine::boot::{Decision, Outcome, Program, Request, Rule};
use crate::model::{Node, NodeId, Site};

const REACH: Reach = Reach { head: std::net::Ipv4Addr::new(192, 0, 2, 254), port: 8081 };

fn check(target: Outcome, attempt: u32) -> Option<String> {
    let node = Arc::new(Node::new(NodeId(1), "nid001".parse().unwrap()));
    let decision = Decision {
        node: Some(node),
        outcome: target,
        rule: Rule::NothingAssigned,
        image: None,
        consumes: None,
    };
    let mac = Some(Mac([0, 0, 0x5e, 0, 0x53, 1]));
    let request = Request { mac, address: None, uuid: None, arch: None, attempt };
    let site = Site { kernel_params: "console=ttyS0".to_owned(), ..Site::default() };
    render(&decision, &request, &site, REACH).unwrap()
}

#[test]
fn a_linux_target_names_its_files_and_asks_again_when_one_fails() {
    let target = Program::Linux {
        kernel: "compute/vmlinuz".to_owned(),
        initrds: vec!["compute/initrd.img".to_owned(), "http://192.0.2.9/extra.cpio".to_owned()],
        params: "root=live:{images}/compute/rootfs ds=nocloud-net;s={http}/cloud-init/".to_owned(),
    };
    let want = "#!ipxe\n\
        echo muster: nid001: nothing is assigned to the node, its groups, its role or all\n\
        kernel --name kernel http://192.0.2.254:8081/images/compute/vmlinuz initrd=initrd initrd=initrd1 \
        console=ttyS0 root=live:http://192.0.2.254:8081/images/compute/rootfs \
        ds=nocloud-net;s=http://192.0.2.254:8081/cloud-init/ BOOTIF=01-00-00-5e-00-53-01 || goto retry\n\
        initrd --name initrd http://192.0.2.254:8081/images/compute/initrd.img || goto retry\n\
        initrd --name initrd1 http://192.0.2.9/extra.cpio || goto retry\n\
        boot || goto retry\n\
        :retry\n\
        sleep 2\n\
        chain --autofree --replace http://192.0.2.254:8081/boot/script?mac=00-00-5e-00-53-01&uuid=${uuid}\
        &arch=${buildarch}&platform=${platform}&try=1 || goto retry\n";
    assert_eq!(check(Outcome::Boot(target), 0).unwrap(), want);
}

#[test]
fn the_kernels_line_is_told_as_its_stub_measures_it() {
    let line = |params: &str| {
        let (kernel, initrds, params) = ("k".to_owned(), vec!["i".to_owned()], params.to_owned());
        let decision = Decision {
            node: None,
            outcome: Outcome::Boot(Program::Linux { kernel, initrds, params }),
            rule: Rule::NothingAssigned,
            image: None,
            consumes: None,
        };
        let request = Request { mac: None, address: None, uuid: None, arch: None, attempt: 0 };
        let script = render(&decision, &request, &Site::default(), REACH).unwrap().unwrap();
        let line = kernel_line(&decision, &request, &Site::default(), REACH);
        if let Some(line) = &line {
            let told = line.replacen("kernel", "kernel --name kernel http://192.0.2.254:8081/images/k", 1);
            assert!(script.contains(&format!("\n{told} || goto retry\n")), "{script}");
        }
        line
    };
    assert_eq!(line("quiet  x={head}").as_deref(), Some("kernel initrd=initrd quiet x=192.0.2.254"));
    assert_eq!(line("").as_deref(), Some("kernel initrd=initrd"));
    assert_eq!(line("mac=${net0/mac}"), None, "the loader fills that in");
}

#[test]
fn a_waiting_machine_asks_more_and_more_slowly() {
    for (attempt, pause) in [(0, 2), (1, 4), (3, 16), (4, 30), (u32::MAX, 30)] {
        let script = check(Outcome::Hold, attempt).unwrap();
        assert!(script.contains(&format!("\nsleep {pause}\n")), "{attempt}: {script}");
    }
}

#[test]
fn a_refusal_has_no_script_and_a_local_boot_leaves_ipxe() {
    assert_eq!(check(Outcome::Refuse, 0), None);
    assert!(check(Outcome::Boot(Program::LocalDisk), 0).unwrap().ends_with("\nexit\n"));
    let own = check(Outcome::Boot(Program::Script("echo hi".to_owned())), 0).unwrap();
    assert_eq!(own, "#!ipxe\necho hi\n");
}
