//! Pingora as a peer: a proxy in front of one origin, and nothing else. `peer-pingora LISTEN ORIGIN`.
//!
//! A program because Pingora is a library: what other peers have in a file is `configuration` here. It logs nothing, for
//! nobody has installed a logger; it sets TCP_NODELAY and a backlog of 65,535 by itself, and keeps clients without an end.

use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora::Result;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (listen, origin) = match words[..] {
        ["--version"] => {
            println!("pingora {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        [listen, origin] => (listen, origin),
        _ => return usage("two addresses are needed"),
    };
    match origin.parse() {
        Ok(origin) => serve(listen, origin),
        Err(error) => usage(&format!("{origin}: {error}")),
    }
}

fn usage(mistake: &str) -> ExitCode {
    eprintln!("{mistake}\nUsage: peer-pingora LISTEN ORIGIN, each an IP address and a port; or --version");
    ExitCode::from(2)
}

fn serve(listen: &str, origin: SocketAddr) -> ! {
    let mut server = Server::new_with_opt_and_conf(None, configuration());
    server.bootstrap();
    // Two services of one thread each, and nothing between them: with two threads in one, all clients are on the epoll of
    // one, and most requests go from thread to thread and back.
    for _ in 0..2 {
        let mut proxy = http_proxy_service(&server.configuration, Proxy { origin });
        proxy.add_tcp(listen);
        server.add_service(proxy);
    }
    server.run_forever()
}

fn configuration() -> ServerConf {
    ServerConf {
        // Of each service.
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: 4096,
        // SIGTERM ends it at once.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

/// Everything goes to one origin.
struct Proxy {
    origin: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    /// None: the default is one that could compress, and does not.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }
}
