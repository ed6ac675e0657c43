# Jobs of Sidekiq: pushed one by one by four threads, done by ten others. Prints how many seconds that took.
require 'sidekiq'
require 'sidekiq/cli'
require 'sidekiq/launcher'

url = "redis://127.0.0.1:#{ENV.fetch('BROKER_PORT')}/0"
Sidekiq.logger.level = Logger::ERROR
Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)
Sidekiq.configure_client { |config| config.redis = { url: url, size: 20 } }

DONE = Queue.new

class Job
  include Sidekiq::Worker

  def perform(_number)
    DONE << true
  end
end

def run(count)
  pushers = (0...4).map { |from| Thread.new { (from...count).step(4) { |number| Job.perform_async(number) } } }
  count.times { DONE.pop }
  pushers.each(&:join)
end

Sidekiq.redis = { url: url, size: 20 }
Sidekiq::Launcher.new(Sidekiq.options.merge(queues: ['default'], concurrency: 10, environment: 'test', timeout: 5)).run
run(100)
began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
run(Integer(ENV.fetch('JOBS')))
puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
$stdout.flush
exit!(0)
