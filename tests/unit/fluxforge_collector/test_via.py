from fluxforge_collector.via import lead_via


def test_the_original_host_stays_in_the_path_and_tls_is_left_off() -> None:
    urls = {
        "api": {
            "public": "https://api.binance.com/api/v3",
            "ws": {"spot": "wss://stream.binance.com:9443/ws"},
            "hosts": ["http://{hostname}/a", "ws://b"],
        },
        "logo": "data:image/png",
        "fees": None,
    }
    assert lead_via(urls, "127.0.0.1:8800") == {
        "api": {
            "public": "http://127.0.0.1:8800/api.binance.com/api/v3",
            "ws": {"spot": "ws://127.0.0.1:8800/stream.binance.com:9443/ws"},
            "hosts": ["http://127.0.0.1:8800/{hostname}/a", "ws://127.0.0.1:8800/b"],
        },
        "logo": "data:image/png",
        "fees": None,
    }
