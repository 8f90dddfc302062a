# Varnish, told to cache nothing: every request passes to the origin, on a connection that is kept.
# @NAME@ is filled in by src/peer.rs. varnishd compiles this file with gcc.
vcl 4.1;

backend origin {
    .host = "@ORIGIN_HOST@";
    .port = "@ORIGIN_PORT@";
}

sub vcl_recv {
    if (req.http.Upgrade) {
        return (pipe);
    }
    return (pass);
}

sub vcl_pipe {
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = req.http.Connection;
    }
}
