import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.Value;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Scope;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.MDC;

/** An HTTP server and its client in one process, instrumented by the OpenTelemetry Java agent. */
public class Shop {
  static final Logger log = LoggerFactory.getLogger(Shop.class);
  static final java.util.logging.Logger oldLog = java.util.logging.Logger.getLogger("shop.old");
  static final Tracer tracer = GlobalOpenTelemetry.getTracer("shop", "7.1");

  public static void main(String[] args) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
    server.createContext("/order", Shop::serve);
    server.start();
    List<SpanContext> orders = new ArrayList<>();
    for (String basket : List.of("apple,pear", "unsellable")) {
      Span span = tracer.spanBuilder("checkout").startSpan();
      try (Scope scope = span.makeCurrent()) {
        order(server.getAddress().getPort(), basket);
      }
      span.end();
      orders.add(span.getSpanContext());
    }
    nightly(orders);
    server.stop(0);
  }

  static void order(int port, String basket) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/order?from=cart"))
        .header("x-basket", basket).POST(HttpRequest.BodyPublishers.ofString(basket)).build();
    HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
  }

  static void serve(HttpExchange exchange) throws IOException {
    String basket = exchange.getRequestHeaders().getFirst("x-basket");
    MDC.put("basket", basket);
    log.debug("serving {}", exchange.getRequestURI());
    int status = 200;
    try {
      charge(basket);
      log.atInfo().addKeyValue("total", 15.5).addKeyValue("paid", true).log("order placed");
      GlobalOpenTelemetry.get().getLogsBridge().get("events").logRecordBuilder()
          .setEventName("order.placed").setSeverity(Severity.INFO2)
          .setBody(Value.of(Map.of("order", Value.of(Value.of(4711), Value.of(basket), Value.of(true))))).emit();
    } catch (IllegalArgumentException e) {
      status = 500;
      log.warn("order refused", e);
    } finally {
      MDC.clear();
    }
    exchange.getResponseHeaders().set("content-type", "text/plain");
    exchange.sendResponseHeaders(status, -1);
    exchange.close();
  }

  static void charge(String basket) {
    Span span = tracer.spanBuilder("charge").startSpan();
    try (Scope scope = span.makeCurrent()) {
      span.setAttribute(AttributeKey.stringArrayKey("shop.items"), List.of(basket.split(",")));
      span.setAttribute(AttributeKey.doubleArrayKey("shop.prices"), List.of(12.5, 3.0));
      span.setAttribute(AttributeKey.longArrayKey("shop.amounts"), List.of(1L, 2L));
      span.setAttribute(AttributeKey.booleanArrayKey("shop.gift"), List.of(true, false));
      span.setAttribute("shop.total", 15.5);
      span.addEvent("card.checked", Attributes.builder().put("card.network", "visa").put("attempt", 1).build());
      if (basket.equals("unsellable")) {
        throw new IllegalArgumentException("no price for " + basket);
      }
    } catch (IllegalArgumentException e) {
      span.recordException(e);
      span.setStatus(StatusCode.ERROR, e.getMessage());
      oldLog.log(Level.SEVERE, "charge failed", e);
      throw e;
    } finally {
      span.end();
    }
  }

  /** A trace of its own that is linked to the orders'. */
  static void nightly(List<SpanContext> orders) {
    var builder = tracer.spanBuilder("nightly report").setNoParent().setSpanKind(SpanKind.CONSUMER);
    orders.forEach(o -> builder.addLink(o, Attributes.builder().put("kind", "order").build()));
    Span span = builder.startSpan();
    try (Scope scope = span.makeCurrent()) {
      oldLog.info("report written");
    }
    span.end();
    oldLog.warning("shop closes");
  }
}
